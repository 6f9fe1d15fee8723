import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultCounts } from './faults.ts';
import { runSchedule } from './schedule.ts';

const SCHEDULES = Number(process.env['HEDDLE_SIMULATION_SCHEDULES'] ?? 10_000);
const FIRST = Number(process.env['HEDDLE_SIMULATION_SEED'] ?? 1);

test(`no job is lost, doubled or hung in ${SCHEDULES} schedules`, async (t) => {
  const counts = new FaultCounts();
  const startedMs = performance.now();
  const cpu = process.cpuUsage();

  for (let seed = FIRST; seed < FIRST + SCHEDULES; seed++) {
    const problems = await runSchedule({ seed, counts });
    assert.deepEqual(
      problems,
      [],
      `seed ${seed}; again with HEDDLE_SIMULATION_SEED=${seed} HEDDLE_SIMULATION_SCHEDULES=1`,
    );
  }

  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const cores = ((user + system) / 1e6).toFixed(1);
  const faults = [...counts.counts].map(([fault, count]) => `${count} × ${fault}`).join(', ');
  t.diagnostic(
    `${SCHEDULES} schedules in ${seconds.toFixed(1)} s (${cores} s of one core): ${faults}`,
  );
  for (const fault of SCHEDULES < 1_000 ? [] : FAULTS) {
    assert.ok((counts.counts.get(fault) ?? 0) > 0, `'${fault}' never happened`);
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
];

test('the same seed gives the same history', async () => {
  const histories: string[] = [];
  for (let run = 0; run < 2; run++) {
    const counts = new FaultCounts();
    for (let seed = 1; seed <= 5; seed++) await runSchedule({ seed, counts });
    histories.push(JSON.stringify([...counts.counts]));
  }

  assert.equal(histories[0], histories[1]);
});

test('without the check of the expected sequence the simulation finds broken jobs', async (t) => {
  const broken: string[] = [];
  for (let seed = 1; seed <= 200; seed++) {
    const [problem] = await runSchedule({ seed, fence: false });
    if (problem !== undefined) broken.push(`seed ${seed}: ${problem}`);
  }

  t.diagnostic(`${broken.length} of 200 schedules broke, the first: ${broken[0]}`);
  assert.ok(broken.length > 0, 'the fence could be left out and nobody would notice');
});
