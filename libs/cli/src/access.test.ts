import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { JwtTokens } from '@heddle/adapters/tokens';
import { type Log, type Role, TOKEN_DEFAULTS } from '@heddle/ports';
import { accessOf } from './access.ts';
import { fakeCluster, fakeIo } from './fake-cluster.ts';
import { heddleCommand } from './heddle-command.ts';

const directory = mkdtempSync(join(tmpdir(), 'heddle-access-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

const access = (environment: Record<string, string>, options = {}) =>
  accessOf({ environment, workingDirectory: directory }, options);

test('a token comes from the line, the environment or a file, in this order, without its line end', async () => {
  writeFileSync(join(directory, 'token'), 'of.the.file\n');
  const file = { HEDDLE_TOKEN_FILE: 'token' };
  assert.equal((await access(file)).token, 'of.the.file');
  const both = { ...file, HEDDLE_TOKEN: 'of.the.environment' };
  assert.equal((await access(both)).token, 'of.the.environment');
  assert.equal((await access(both, { accessToken: 'a.b.c' })).token, 'a.b.c');
  assert.equal((await access({ HEDDLE_TOKEN: '' })).token, undefined);
});

test('a file that is no token is refused, and nothing of it is repeated', async () => {
  writeFileSync(join(directory, 'diary'), 'SECRET first line\nSECRET second line');
  await assert.rejects(access({ HEDDLE_TOKEN_FILE: 'diary' }), (error: Error) => {
    assert.doesNotMatch(error.message, /SECRET/);
    return true;
  });
  await assert.rejects(access({ HEDDLE_TOKEN_FILE: 'nowhere' }), {
    code: 'not_found',
    message: 'HEDDLE_TOKEN_FILE: there is no nowhere',
  });
  await assert.rejects(access({}, { tlsCa: 'nowhere' }), { code: 'not_found', field: 'tls-ca' });
});

test('an authority is read, and the name that is expected goes with it', async () => {
  writeFileSync(join(directory, 'ca.pem'), 'PEM');
  const { tls } = await access({ HEDDLE_TLS_CA: 'ca.pem', HEDDLE_TLS_NAME: 'heddle' });
  assert.deepEqual(tls, { ca: 'PEM', serverName: 'heddle' });
  assert.equal((await access({})).tls, undefined);
});

test('a key pair of keygen signs tokens that its public half lets in; a second key replaces none unasked', async () => {
  const cluster = await fakeCluster();
  const run = async (...argv: string[]) => {
    const io = fakeIo(directory);
    return { status: await heddleCommand(argv, io, cluster.host), out: io.out.join('') };
  };
  assert.equal((await run('token', 'keygen', '--out', 'keys')).status, 0);
  const key = join(directory, 'keys', 'heddle-token-key.json');
  assert.equal(statSync(key).mode & 0o777, 0o600);
  const before = readFileSync(key, 'utf8');
  assert.equal((await run('token', 'keygen', '--out', 'keys')).status, 3);
  assert.equal(readFileSync(key, 'utf8'), before);

  const issued = await run('token', 'issue', '--tenant', 'ada', '--role', 'admin', '--key', key);
  const jwks = join(directory, 'keys', 'heddle-jwks.json');
  const roles = new Map<string, Role>([['admin', 'admin']]);
  const tokens = await JwtTokens.open({ jwks, ...TOKEN_DEFAULTS, roles, log });
  const caller = await tokens.verify(issued.out.trim());
  assert.deepEqual(caller, { tenant: 'ada', role: 'admin' });
  await cluster.close();
});
