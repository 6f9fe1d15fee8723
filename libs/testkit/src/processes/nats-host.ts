// A process that serves one kind of job as a replica of a cluster does: the runtime on NATS alone.
// Argument: the settings as JSON. Prints `ready`, `step JOB N` for each step computed, and `KEY STATUS RESULT` at each end.
import { JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import { type CountRequest, countingKind } from '../counting-kind.ts';
import { CountingMetrics, silentLog } from '../quiet.ts';

export interface NatsHostSettings {
  readonly servers: readonly string[];
  readonly prefix: string;
  readonly ackWaitMs: number;
  readonly concurrency: number;
  /** Jobs to ask for, by client key; the same in every replica. */
  readonly jobs: Readonly<Record<string, CountRequest>>;
}

const { servers, prefix, ackWaitMs, concurrency, jobs } = JSON.parse(
  process.argv[2] ?? '',
) as NatsHostSettings;
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

const clock = systemClock;
const stores = await openNats({ servers, prefix, clock, log: silentLog });
const blobs = await stores.blobs();
const runtime = new JobRuntime({
  journal: stores.journal,
  queue: stores.queue,
  events: stores.events,
  blobs,
  clock,
  metrics: new CountingMetrics(),
  log: silentLog,
});
const counting = countingKind((job, step) => say(`step ${job} ${step}`));
const limits = { ackWaitMs, concurrency };
runtime.register({ ...counting, limits } as Parameters<typeof runtime.register>[0]);
await runtime.start();
say('ready');

await Promise.all(
  Object.entries(jobs).map(async ([key, request]) => {
    const { id } = await runtime.submit('count.steps', request, { key });
    const view = await runtime.wait(id);
    const result = view.result === undefined ? undefined : await blobs.read(view.result.digest);
    say(`${key} ${view.status} ${new TextDecoder().decode(result)}`);
  }),
);
await runtime.stop(1_000);
await stores.close();
