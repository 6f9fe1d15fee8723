import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeTokenKey } from '@heddle/adapters/tokens';
import { OperationError } from '@heddle/core';
import { type LogLine, recordingLog, silentLog, temporaryFolder } from '@heddle/testkit';
import { makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { readConfig } from './config.ts';
import { openSecurity } from './security.ts';

const folder = await temporaryFolder();
after(() => folder.remove());
const path = (name: string) => join(folder.path, name);
const authority = await makeAuthority();
await writeFile(path('jwks.json'), JSON.stringify((await makeTokenKey()).jwks));
await writeTls(path('member'), authority, await authority.issue({ names: ['heddle-lorsa'] }));
await writeTls(path('grafana'), authority, await authority.issue({ names: ['grafana'] }));

const JWKS = { HEDDLE_TOKENS_JWKS: path('jwks.json') };

test('nothing configured, nobody is asked; a certificate alone asks for certificates, keys for tokens', async () => {
  const open = (environment: Record<string, string>) =>
    openSecurity(readConfig(environment), silentLog);
  const none = await open({});
  assert.equal(none.server, undefined);
  assert.deepEqual(none.callers.current(), { tenant: '', role: 'admin' });
  const tls = await open({ HEDDLE_TLS_DIR: path('member') });
  assert.ok(tls.server?.tls && tls.server.tokens === undefined && tls.scheme === 'https://');
  tls.close();
  const tokens = await open(JWKS);
  assert.ok(tokens.server?.tokens && tokens.server.tls === undefined && tokens.scheme === '');
});

test('what would let anybody in, or nobody, is refused at the start with what to do', async () => {
  const refused = async (environment: Record<string, string>, why: RegExp) => {
    await assert.rejects(openSecurity(readConfig(environment), silentLog), (error: unknown) => {
      assert.equal(OperationError.from(error).code, 'failed_precondition');
      assert.match(OperationError.from(error).message, why);
      return true;
    });
  };
  await refused({ ...JWKS, HEDDLE_PEERS: 'lorsa=10.0.0.1:7411' }, /need TLS \(HEDDLE_TLS_DIR\)/);
  await refused({ HEDDLE_TLS_DIR: path('grafana') }, /for grafana.*HEDDLE_TLS_PEERS/);
  await refused({ HEDDLE_TLS_DIR: path('nowhere') }, /ca\.crt cannot be read/);
  await refused({ HEDDLE_TOKENS_JWKS: path('nowhere') }, /keys of tokens .*cannot be read/);
});

test('variables that cannot be meant are all named at once', () => {
  const environment = {
    HEDDLE_TLS_CERT: 'tls.crt',
    HEDDLE_TLS_PEERS: 'heddle-*,*',
    HEDDLE_TOKENS_JWKS: 'http://idp.example.org/jwks',
    HEDDLE_TOKENS_ROLES: 'viewers=look',
  };
  assert.throws(
    () => readConfig(environment),
    ({ message }: Error) =>
      [/belong together/, /'\*' is no name/, /https address/, /viewers=look/].every((each) =>
        each.test(message),
      ),
  );
});

test('an open door to others is said in the log; on loopback there is none', async () => {
  const said = async (environment: Record<string, string>) => {
    const lines: LogLine[] = [];
    (await openSecurity(readConfig(environment), recordingLog(lines))).close();
    return lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
  };
  assert.match((await said({ HEDDLE_HOST: '0.0.0.0' })).join(), /everybody.*no TLS, no tokens/);
  assert.match((await said({ ...JWKS, HEDDLE_HOST: '::' })).join(), /readable/);
  assert.deepEqual(await said({ HEDDLE_HOST: '127.0.0.1' }), []);
  assert.deepEqual(await said({ HEDDLE_HOST: '0.0.0.0', HEDDLE_TLS_DIR: path('member') }), []);
});
