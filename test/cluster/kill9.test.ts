import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fold, initialState, type JobEvent, jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { openSqlite } from '@heddle/adapters/sqlite';
import { countingResult, type Launched, launch, temporaryFolder } from '@heddle/testkit';

const HOST = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/counting-host'));
const REQUEST = { seed: 11, steps: 120, every: 25, stepMs: 2 };

interface Options {
  readonly soleOwner?: boolean;
  readonly ackWaitMs?: number;
}

function host(folder: string, { soleOwner = true, ackWaitMs = 30_000 }: Options = {}): Launched {
  const settings = { folder, key: 'the same', request: REQUEST, soleOwner, ackWaitMs };
  return launch(HOST, [JSON.stringify(settings)]);
}

const stepsOf = (process: Launched): number =>
  process.lines.filter((line) => line.startsWith('step ')).length;

async function eventsOf(folder: string): Promise<readonly JobEvent[]> {
  const { journal, close } = openSqlite(join(folder, 'heddle.sqlite'), { clock: systemClock });
  const [stream = ''] = await journal.streams('job.', 2);
  const events = (await journal.read(stream)).map(({ bytes }) => jobBehaviour.decode(bytes));
  await close();
  const state = events.reduce(fold, initialState(stream));
  assert.equal(state.status, 'completed');
  return events;
}

test('after kill -9 in mid job a new process goes on from the last checkpoint to the same result', async (t) => {
  const { path, remove } = await temporaryFolder();
  const first = host(path);
  await first.line(/^step 63$/);
  first.kill('SIGKILL');
  assert.equal((await first.exited).signal, 'SIGKILL');

  const startedMs = performance.now();
  const second = host(path);
  const resumed = Number((await second.line(/^step (\d+)$/))[1]);
  const [, result] = await second.line(/^completed (.*)$/);
  assert.equal((await second.exited).code, 0, second.stderr());

  assert.equal(result, countingResult(REQUEST));
  assert.equal(resumed, 51, 'the checkpoint at 50 was the last');
  const steps = stepsOf(first) + stepsOf(second);
  const most = REQUEST.steps + REQUEST.every;
  t.diagnostic(
    `${steps} steps in all for ${REQUEST.steps}, at most ${most}; done ${Math.round(performance.now() - startedMs)} ms after the restart`,
  );
  assert.ok(steps <= most, `${steps} steps`);
  await remove();
});

test('killed again and again, wherever it is, the job ends once and with the same result', async (t) => {
  const { path, remove } = await temporaryFolder();
  const kills = [/^job /, /^step 26$/, /^step 50$/, /^step 99$/, /^step 120$/];
  let steps = 0;
  for (const pattern of kills) {
    const process = host(path);
    await process.line(pattern);
    process.kill('SIGKILL');
    await process.exited;
    steps += stepsOf(process);
  }

  const last = host(path);
  const [, result] = await last.line(/^completed (.*)$/);
  await last.exited;

  assert.equal(result, countingResult(REQUEST));
  steps += stepsOf(last);
  t.diagnostic(`${kills.length} kills: ${steps} steps in all for ${REQUEST.steps}`);
  assert.ok(steps <= REQUEST.steps + kills.length * REQUEST.every);
  const events = await eventsOf(path);
  assert.equal(events.filter(({ type }) => type === 'task-done').length, 1);
  assert.equal(events.filter(({ type }) => type === 'submitted').length, 1);
  await remove();
});

test('SIGTERM drains: the checkpoint is taken where it stands, and no step is done twice', async () => {
  const { path, remove } = await temporaryFolder();
  const first = host(path);
  await first.line(/^step 63$/);
  first.kill('SIGTERM');
  assert.equal((await first.exited).code, 0, first.stderr());
  assert.ok(first.lines.includes('drained 1 0'), first.lines.at(-1));

  const second = host(path);
  const [, result] = await second.line(/^completed (.*)$/);
  await second.exited;

  assert.equal(result, countingResult(REQUEST));
  assert.equal(stepsOf(first) + stepsOf(second), REQUEST.steps);
  await remove();
});

test('a process that was stopped and wakes up after another took its task over commits nothing', async () => {
  const { path, remove } = await temporaryFolder();
  const options = { soleOwner: false, ackWaitMs: 1_500 };
  const zombie = host(path, options);
  await zombie.line(/^step 30$/);
  zombie.kill('SIGSTOP');

  const heir = host(path, options);
  await heir.line(/^step 60$/);
  zombie.kill('SIGCONT');
  const results = await Promise.all([
    heir.line(/^completed (.*)$/),
    zombie.line(/^completed (.*)$/), // it hears of the result, as everybody does
  ]);
  await Promise.all([heir.exited, zombie.exited]);

  for (const [, result] of results) assert.equal(result, countingResult(REQUEST));
  const events = await eventsOf(path);
  const starts = events.flatMap((event) => (event.type === 'started' ? [event.claim] : []));
  const ends = events.flatMap((event) => (event.type === 'task-done' ? [event.claim] : []));
  assert.ok(starts.length >= 2, 'it was taken over');
  assert.deepEqual(ends, starts.slice(-1), 'the end is that of the last start');
  await remove();
});
