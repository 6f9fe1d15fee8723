import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from '@heddle/testkit';
import type { Summary } from './run-schedules.ts';

const RUN = fileURLToPath(new URL('./run-schedules.ts', import.meta.url));
const SCHEDULES = Number(process.env['HEDDLE_SIMULATION_SCHEDULES'] ?? 10_000);
const FIRST = Number(process.env['HEDDLE_SIMULATION_SEED'] ?? 1);

async function run(first: number, count: number, fence = 'fence'): Promise<Summary> {
  const child = launch(RUN, [`${first}`, `${count}`, fence]);
  const [line] = await child.line(/^\{"broken".*$/);
  await child.exited;
  return JSON.parse(line);
}

test(`no job is lost, doubled or hung in ${SCHEDULES} schedules`, async (t) => {
  const { broken, faults, seconds, coreSeconds } = await run(FIRST, SCHEDULES);

  const met = Object.entries(faults).map(([fault, count]) => `${count} × ${fault}`);
  t.diagnostic(
    `${SCHEDULES} schedules in ${seconds.toFixed(1)} s (${coreSeconds.toFixed(1)} s of one core): ${met.join(', ')}`,
  );
  const seed = broken[0]?.seed;
  assert.deepEqual(
    broken.slice(0, 3),
    [],
    `${broken.length} broke; the first again: HEDDLE_SIMULATION_SEED=${seed} HEDDLE_SIMULATION_SCHEDULES=1`,
  );
  for (const fault of SCHEDULES < 1_000 ? [] : FAULTS) {
    assert.ok((faults[fault] ?? 0) > 0, `'${fault}' never happened`);
  }
});

const FAULTS = [
  'crash',
  'freeze',
  'drain',
  'lost race',
  'crash between append and enqueue',
  'executed and timed out',
  'unavailable',
  'acknowledgement lost',
  'redelivered',
  'duplicated',
  'delayed',
  'slow',
  'checkpoint rotted',
];

test('the same seed gives the same history', async () => {
  const [one, other] = await Promise.all([run(1, 20), run(1, 20)]);

  assert.deepEqual(one.faults, other.faults);
});

test('without the check of the expected sequence the simulation finds broken jobs', async (t) => {
  const { broken } = await run(1, 200, 'no-fence');

  t.diagnostic(
    `${broken.length} of 200 schedules broke, the first: seed ${broken[0]?.seed}, ${broken[0]?.problems[0]}`,
  );
  assert.ok(broken.length > 0, 'the fence could be left out and nobody would notice');
});
