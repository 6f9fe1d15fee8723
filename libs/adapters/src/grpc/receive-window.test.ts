import assert from 'node:assert/strict';
import { connect } from 'node:http2';
import { test } from 'node:test';
import { silentLog } from '@heddle/testkit';
import { FLOW_CONTROL_WINDOW_BYTES } from './limits.ts';
import { serve } from './server.ts';

test('a connection may send its requests ahead, not 64 KiB of all of them together', async () => {
  const server = await serve({ host: '127.0.0.1', port: 0, log: silentLog });
  const session = connect(`http://127.0.0.1:${server.port}`);
  try {
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    // Frames come in order: by the answer to a ping the window has come.
    await new Promise((resolve) => session.ping(resolve));
    assert.equal(session.state.remoteWindowSize, FLOW_CONTROL_WINDOW_BYTES);
  } finally {
    session.destroy();
    await server.close(0);
  }
});
