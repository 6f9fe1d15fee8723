/**
 * `npm run bench -- transport`: a [8, 256, 768] fp32 tensor over gRPC between two processes, as a share of the rate of
 * a bare TCP stream between the same two, taken in turns. Both ends put the tensor into one allocation.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type Heddle } from '@heddle/client';
import { elementCount } from '@heddle/tensor';
import { SHAPE } from './transport-shape.ts';

/** Tensors a sample moves: 126 MB, a tenth of a second over gRPC. */
const TENSORS = 20;
const SAMPLES = 9;
const BYTES = elementCount(SHAPE) * 4;

export interface TransportSamples {
  /** Rate over gRPC as a share of that over TCP; one per round. */
  readonly share_of_tcp: readonly number[];
  readonly grpc_gb_per_s: readonly number[];
  readonly tcp_gb_per_s: readonly number[];
}

/** The target that share_of_tcp carries. */
export const SHARE_OF_TCP_MIN = 0.3;

export async function measureTransport(): Promise<TransportSamples> {
  const peer = fork(new URL('./transport-peer.ts', import.meta.url), { stdio: 'inherit' });
  try {
    return await measureAgainst(peer);
  } finally {
    peer.kill('SIGKILL');
  }
}

async function measureAgainst(peer: ChildProcess): Promise<TransportSamples> {
  const [ports] = (await once(peer, 'message')) as [{ grpc: number; tcp: number }];
  const heddle = connect(`127.0.0.1:${ports.grpc}`);
  const socket = connectTcp(ports.tcp, '127.0.0.1');
  await once(socket, 'connect');
  const grpc: number[] = [];
  const tcp: number[] = [];
  await overGrpc(heddle); // both ends compile their codecs
  await overTcp(socket);
  for (let i = 0; i < SAMPLES; i++) {
    grpc.push(await overGrpc(heddle));
    tcp.push(await overTcp(socket));
  }
  heddle.close();
  socket.destroy();
  const share = grpc.map((rate, i) => rate / (tcp[i] ?? Number.NaN));
  return { share_of_tcp: share, grpc_gb_per_s: grpc, tcp_gb_per_s: tcp };
}

/** GB/s of one sample. */
async function overGrpc(heddle: Heddle): Promise<number> {
  const started = performance.now();
  let tensors = 0;
  const request = { hooks: ['resid'], positions: [TENSORS] };
  for await (const item of heddle.runItems(request)) {
    if (item.type !== 'tensor') continue;
    tensors++;
    assert.equal(item.tensor.tensor.data.length, elementCount(SHAPE));
  }
  assert.equal(tensors, TENSORS);
  return rate(started);
}

async function overTcp(socket: Socket): Promise<number> {
  const started = performance.now();
  const done = Promise.withResolvers<void>();
  let target = new Uint8Array(BYTES);
  let filled = 0;
  let tensors = 0;
  const receive = (chunk: Buffer) => {
    for (let from = 0; from < chunk.length; ) {
      const part = chunk.subarray(from, from + BYTES - filled);
      target.set(part, filled);
      filled += part.length;
      from += part.length;
      if (filled < BYTES) continue;
      tensors++;
      filled = 0;
      if (tensors === TENSORS) done.resolve();
      else target = new Uint8Array(BYTES);
    }
  };
  socket.on('data', receive);
  socket.once('error', done.reject);
  socket.write(Uint8Array.of(TENSORS));
  await done.promise;
  socket.off('data', receive);
  socket.off('error', done.reject);
  return rate(started);
}

function rate(started: number): number {
  return (TENSORS * BYTES) / (performance.now() - started) / 1e6;
}
