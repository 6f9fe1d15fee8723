// A process that works on many small tasks of several tenants, as a replica of a cluster does: the runtime on NATS alone.
// Argument: the settings as JSON. Prints `ready`; ends with SIGTERM.
import { type JobKind, JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import { CountingMetrics, silentLog } from '../quiet.ts';

export interface ShareHostSettings {
  readonly servers: readonly string[];
  readonly prefix: string;
  readonly concurrency: number;
  readonly taskMs: number;
  readonly windowTasks: number;
}

/** A request is a number of tasks, each of which takes its time and gives nothing. */
export function partsKind({
  concurrency,
  taskMs,
}: Pick<ShareHostSettings, 'concurrency' | 'taskMs'>): JobKind {
  const work: JobKind['run'] = async (_task, { clock, signal }) => {
    await clock.sleep(taskMs, signal);
    return { bytes: new Uint8Array() };
  };
  return {
    kind: 'test.parts',
    limits: { concurrency, queuedMax: 100_000 },
    split: (request) => Array.from({ length: Number(request) }, () => ({ input: null })),
    run: work,
    reduce: (_task, _results, context) => work({} as never, context),
  };
}

if (process.argv[1] === import.meta.filename) {
  const settings = JSON.parse(process.argv[2] ?? '') as ShareHostSettings;
  const { servers, prefix, windowTasks } = settings;
  const clock = systemClock;
  const stores = await openNats({ servers, prefix, clock, log: silentLog });
  const { journal, queue, events } = stores;
  const ports = { journal, queue, events, blobs: await stores.blobs(), clock, log: silentLog };
  const runtime = new JobRuntime({ ...ports, metrics: new CountingMetrics(), windowTasks });
  runtime.register(partsKind(settings));
  await runtime.start();
  process.stdout.write('ready\n');
  process.once('SIGTERM', () => void runtime.stop(1_000).then(() => stores.close()));
}
