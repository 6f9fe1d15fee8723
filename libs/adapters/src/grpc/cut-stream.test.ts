import assert from 'node:assert/strict';
import { constants, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { openChannel } from './channel.ts';

test('a stream that is cut without a status is UNAVAILABLE: no server said that anything is wrong', async () => {
  const server = createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {}); // what it was closed with
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const channel = openChannel(`127.0.0.1:${port}`);
  try {
    const error = await channel.clients.qk.StartFit({}).then(
      () => assert.fail('it was answered'),
      (thrown) => OperationError.from(thrown),
    );
    assert.equal(error.code, 'unavailable', error.message);
  } finally {
    channel.close();
    server.close();
  }
});
