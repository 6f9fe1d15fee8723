// Breaks a cluster of real processes, again and again, and says what became of its jobs.
//   npm run chaos -- --seeds 200 [--seed 1] [--faults zombie,cut] [--json] [--unfenced]

import { parseArgs } from 'node:util';
import { missingMount, missingServer, SERVERS } from '@heddle/testkit';
import { Ground } from './ground.ts';
import { lineOf, totalsOf } from './report.ts';
import { runSeed, undisturbed, type Verdict } from './run-schedule.ts';
import { FAULTS, type Fault, seeds, VARIANTS, WORK } from './schedule.ts';
import { Workload } from './work.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    faults: { type: 'string', default: FAULTS.join(',') },
    json: { type: 'boolean', default: false },
    unfenced: { type: 'boolean', default: false },
  },
});
const say = (line: string): boolean => process.stdout.write(`${line}\n`);
const faults = values.faults.split(',') as Fault[];
const unknown = faults.find((fault) => !FAULTS.includes(fault));
if (unknown !== undefined) throw new Error(`no fault ${unknown}; there are ${FAULTS.join(', ')}`);
const missing = missingServer(SERVERS.natsCurrent) ?? (await missingMount());
if (missing !== undefined) throw new Error(missing);

// Ended from outside, it still takes its processes and mounts with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    process.stderr.write(`ended by ${signal}\n`);
    process.exit(1);
  });
}

const startedMs = performance.now();
const ground = await Ground.open({ fence: !values.unfenced });
const verdicts: Verdict[] = [];
try {
  const workload = new Workload(ground.heddle);
  await workload.prepare();
  const all = WORK.flatMap((work) =>
    Array.from({ length: VARIANTS }, (_, variant) => ({ work, variant })),
  );
  const baseline = await undisturbed(ground, workload, all);
  await ground.tally();
  for (const [name, { digest, seconds }] of baseline) {
    if (!values.json) say(`undisturbed ${name.padEnd(8)} ${digest} ${seconds.toFixed(1)} s`);
  }
  for (const seed of seeds(Number(values.seed), Number(values.seeds), faults)) {
    const verdict = await runSeed(ground, workload, baseline, seed);
    verdicts.push(verdict);
    say(values.json ? JSON.stringify(verdict) : lineOf(verdict));
  }
} finally {
  await ground.close();
}
const totals = totalsOf(verdicts, (performance.now() - startedMs) / 1000);
say(values.json ? JSON.stringify(totals.figures) : totals.text);
process.exitCode = totals.isSound ? 0 : 1;
