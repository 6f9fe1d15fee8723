/** The other process of `bench transport`: the same tensor over gRPC and over a bare TCP stream. */

import { createServer } from 'node:net';
import { serve } from '@heddle/adapters/grpc';
import { type Log, tensorParts } from '@heddle/ports';
import { elementCount, tensor, toBytes } from '@heddle/tensor';
import { SHAPE } from './transport-shape.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
const values = Float32Array.from({ length: elementCount(SHAPE) }, (_, i) => Math.fround(i * 1e-3));
const payload = tensor('f32', SHAPE, values);

const grpc = await serve({
  host: '127.0.0.1',
  port: 0,
  log,
  handlers: {
    activation: {
      async *Run({ positions: [count = 1] }) {
        for (let i = 0; i < count; i++) yield* tensorParts(payload, { name: 'resid', prompt: i });
        yield { end: {} };
      },
    },
  },
});

// A request is one byte: how many tensors to send.
const tcp = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', async ([count = 0]) => {
    const bytes = toBytes(payload);
    for (let i = 0; i < count; i++) {
      if (!socket.write(bytes)) await new Promise((resolve) => socket.once('drain', resolve));
    }
  });
});
tcp.listen(0, '127.0.0.1', () => {
  const address = tcp.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  process.send?.({ grpc: grpc.port, tcp: port });
});
process.on('disconnect', () => process.exit(0));
