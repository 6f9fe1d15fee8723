// A process that serves one kind of job, as `heddle up` does all: the runtime on SQLite and a blob directory.
// Argument: the settings as JSON. Prints `job ID`, `step N` for each step computed, and `STATUS RESULT` at the end.
import { join } from 'node:path';
import { JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { LocalEvents } from '@heddle/adapters/events';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { openSqlite } from '@heddle/adapters/sqlite';
import { type CountRequest, countingKind } from '../counting-kind.ts';
import { CountingMetrics, silentLog } from '../quiet.ts';

export interface CountingHostSettings {
  readonly folder: string;
  readonly key: string;
  readonly request: CountRequest;
  readonly ackWaitMs: number;
  readonly soleOwner: boolean;
}

const settings = JSON.parse(process.argv[2] ?? '') as CountingHostSettings;
const { folder, key, request, ackWaitMs, soleOwner } = settings;
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

const clock = systemClock;
const file = openSqlite(join(folder, 'heddle.sqlite'), { clock, soleOwner });
const blobs = await DirectoryBlobs.open(join(folder, 'blobs'));
const { journal, queue } = file;
const runtime = new JobRuntime({
  journal,
  queue,
  blobs,
  clock,
  events: new LocalEvents(),
  metrics: new CountingMetrics(),
  log: silentLog,
});
const counting = countingKind((_job, step) => say(`step ${step}`));
runtime.register({ ...counting, limits: { ackWaitMs } } as Parameters<typeof runtime.register>[0]);
await runtime.start();
process.once('SIGTERM', () => void drain());

const { id } = await runtime.submit('count.steps', request, { key });
say(`job ${id}`);
const view = await runtime.wait(id);
const result =
  view.result === undefined ? '' : new TextDecoder().decode(await blobs.read(view.result.digest));
say(`${view.status} ${result}`);
await runtime.stop(1_000);
await file.close();

async function drain(): Promise<void> {
  const { handedBack, abandoned } = await runtime.stop(5_000);
  say(`drained ${handedBack} ${abandoned}`);
  await file.close();
  process.exit(0);
}
