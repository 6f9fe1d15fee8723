import assert from 'node:assert/strict';
import { get } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '@heddle/testkit';
import { makeAuthority, writeTls } from '@heddle/testkit/certificates';
import { bringUp } from './bring-up.ts';
import { readConfig } from './config.ts';
import { unreadyFor } from './standing.ts';

/** What /readyz says to a probe, which checks no certificate. */
function probe(pages: string): Promise<readonly [number | undefined, string]> {
  const { promise, resolve, reject } =
    Promise.withResolvers<readonly [number | undefined, string]>();
  const asked = get(`${pages}/readyz`, { rejectUnauthorized: false }, async (response) => {
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    resolve([response.statusCode, Buffer.concat(parts).toString()]);
  });
  asked.on('error', reject);
  return promise;
}

test('a process whose own certificate has ended is not ready and says why, until it is renewed', async () => {
  const { path, remove } = await temporaryFolder();
  const tls = join(path, 'tls');
  const authority = await makeAuthority();
  const names = ['heddle-door'];
  await writeTls(tls, authority, await authority.issue({ names, expired: true }));
  const door = await bringUp(
    { dataDirectory: join(path, 'data'), contracts: [], frontDoor: true, standing: true },
    readConfig({
      ...{ HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0', HEDDLE_LOG_LEVEL: 'silent' },
      ...{ HEDDLE_TLS_DIR: tls, HEDDLE_PEERS: 'qk=127.0.0.1:1' },
    }),
  );
  const pages = door.pages ?? '';
  const [status, why] = await probe(pages);
  assert.equal(status, 503);
  assert.match(why, /^not ready: its certificate ended at 20\d\d-.*until it is renewed\n$/);

  await writeTls(tls, authority, await authority.issue({ names }));
  while ((await probe(pages))[0] !== 200) await new Promise((look) => setTimeout(look, 50));
  assert.deepEqual(await probe(pages), [200, 'ready\n']);
  await door.close(0);
  await remove();
});

test('a process that does not serve is not ready, whatever its certificate', () => {
  assert.equal(unreadyFor(false, undefined), 'not ready');
  assert.equal(unreadyFor(true, undefined), undefined);
});
