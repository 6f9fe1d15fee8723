import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Log } from '@heddle/ports';
import { openChannel } from './channel.ts';
import { serve } from './server.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

test('what a starting process does not answer yet is UNAVAILABLE, so that callers ask again; once it stands, UNIMPLEMENTED', async () => {
  const server = await serve({ host: '127.0.0.1', port: 0, log, starting: true });
  const channel = openChannel(`127.0.0.1:${server.port}`);
  const asked = () => channel.clients.activation.ListModels({}, { timeoutMs: 5_000 });
  try {
    await assert.rejects(asked(), { code: 'unavailable', message: /the process is starting/ });
    server.ready(false);
    await assert.rejects(asked(), { code: 'unavailable' });
    server.ready();
    await assert.rejects(asked(), { code: 'unimplemented', message: /--services/ });
    server.ready(false); // a store that is away does not make it begin again
    await assert.rejects(asked(), { code: 'unimplemented' });
  } finally {
    channel.close();
    await server.close(0);
  }
});
