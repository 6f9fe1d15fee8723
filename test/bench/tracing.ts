/**
 * `npm run bench -- tracing`: what spans cost the smallest call, both of whose ends are in this process: CPU time a call with every
 * trace recorded and sent, and with none of them, over that without tracing; in turns.
 */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type RunningServer, serve } from '@heddle/adapters/grpc';
import { connect, type OpenTracing, openTracing } from '@heddle/client';
import { silentLog } from '@heddle/testkit';

const CALLS = 2000;
const ROUNDS = 9;

export const TRACED_MAX = 1.5;
export const UNRECORDED_MAX = 1.25;

export interface TracingSamples {
  readonly untraced_us: readonly number[];
  readonly traced: readonly number[];
  readonly unrecorded: readonly number[];
}

interface Way {
  /** CPU microseconds a call. */
  sample(): Promise<number>;
  close(): Promise<void>;
}

export async function measureTracing(): Promise<TracingSamples> {
  const receiver = await startDrain();
  const ways = [
    await open(undefined),
    await open({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint }),
    await open({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_TRACES_SAMPLER: 'parentbased_always_off',
    }),
  ];
  const rounds: number[][] = [];
  for (let round = -2; round < ROUNDS; round++) {
    const sampled: number[] = [];
    for (const way of ways) sampled.push(await way.sample());
    if (round >= 0) rounds.push(sampled); // what came before warmed it
  }
  for (const way of ways) await way.close();
  receiver.close();
  const over = (way: number) => rounds.map((round) => (round[way] ?? 0) / (round[0] ?? 0));
  return { untraced_us: rounds.map(([us = 0]) => us), traced: over(1), unrecorded: over(2) };
}

/** Takes what is sent and looks at none of it: reading spans is another process's work. */
async function startDrain(): Promise<{ readonly endpoint: string; close(): void }> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end('{}'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, close: () => server.close() };
}

async function open(environment: Readonly<Record<string, string>> | undefined): Promise<Way> {
  const log = silentLog;
  const asked = { serviceName: 'bench', log };
  const tracing: OpenTracing | undefined =
    environment && (await openTracing({ ...asked, environment }));
  const handlers = { jobs: { Get: async () => ({}) } };
  const server: RunningServer = await serve({ host: '127.0.0.1', port: 0, log, handlers, tracing });
  const heddle = connect(`127.0.0.1:${server.port}`, { tracing });
  return {
    sample: async () => {
      const before = process.cpuUsage();
      for (let call = 0; call < CALLS; call++) await heddle.jobs.Get({ id: 'x' });
      const { user, system } = process.cpuUsage(before);
      return (user + system) / CALLS;
    },
    close: async () => {
      heddle.close();
      await server.close(0);
      await tracing?.close();
    },
  };
}
