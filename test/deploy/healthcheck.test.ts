import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort, launch } from '@heddle/testkit';
import { makeAuthority } from '@heddle/testkit/certificates';

const SCRIPT = fileURLToPath(new URL('../../deploy/docker/healthcheck.ts', import.meta.url));

/** Its status and its words. */
async function ask(port: number, env: Record<string, string> = {}) {
  const { exited, lines } = launch(SCRIPT, [], { env: { ...env, HEDDLE_HTTP_PORT: `${port}` } });
  const { code } = await exited;
  return { code, said: lines.join(' ') };
}

async function answered(server: Server, env?: Record<string, string>) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await ask((server.address() as AddressInfo).port, env);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const says =
  (status: number): RequestListener =>
  ({ url }, response) => {
    response.writeHead(url === '/readyz' ? status : 404).end();
  };

test('a container is healthy when its process says that it is ready, and only then', async () => {
  assert.equal((await answered(createServer(says(200)))).code, 0);
  const starting = await answered(createServer(says(503)));
  assert.equal(starting.code, 1);
  assert.match(starting.said, /readyz says 503/);
  const nobody = await ask(await freePort());
  assert.equal(nobody.code, 1);
  assert.match(nobody.said, /ECONNREFUSED/);
});

test('with certificates it asks over TLS, whatever the names in them', async () => {
  const { cert, key } = await (await makeAuthority()).issue({ names: ['heddle-lorsa'] });
  for (const env of [{ HEDDLE_TLS_DIR: '/tls' }, { HEDDLE_TLS_CERT: '/tls/tls.crt' }]) {
    assert.equal((await answered(createTlsServer({ cert, key }, says(200)), env)).code, 0);
    assert.equal((await answered(createTlsServer({ cert, key }, says(503)), env)).code, 1);
  }
});

test('a process that hangs is found out before the engine loses its patience', async () => {
  const { code, said } = await answered(createServer(() => undefined));
  assert.equal(code, 1);
  assert.match(said, /did not answer within 2500 ms/);
});
