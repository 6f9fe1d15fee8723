/** Real processes on a real NATS server, broken 20 times; and once without the fence, which must be found out. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingMount, missingServer, SERVERS } from '@heddle/testkit';
import { Ground } from './ground.ts';
import { lineOf, totalsOf } from './report.ts';
import { type Baseline, runSchedule, runSeed, undisturbed, type Verdict } from './run-schedule.ts';
import { FAULTS, type Schedule, schedule, seeds, VARIANTS, WORK } from './schedule.ts';
import { Workload } from './work.ts';

const missing = missingServer(SERVERS.natsCurrent) ?? (await missingMount());
const skip = missing === undefined ? {} : { skip: missing };
const FIRST_SEED = Number(process.env['HEDDLE_CHAOS_SEED'] ?? 1);
const SCHEDULES = 20;
/** A schedule without the fence need not break anything; so many hardly do. The first that does ends them. */
const UNFENCED_TRIES = 12;

test(
  'killed, frozen, cut off or out of disk, every accepted job ends once, with the result of an undisturbed run',
  skip,
  async (t) => {
    const startedMs = performance.now();
    const ground = await Ground.open();
    const verdicts: Verdict[] = [];
    try {
      const workload = new Workload(ground.heddle);
      await workload.prepare();
      const variants = Array.from({ length: VARIANTS }, (_, variant) => variant);
      const all = WORK.flatMap((work) => variants.map((variant) => ({ work, variant })));
      const baseline = await undisturbed(ground, workload, all);
      await ground.tally();
      for (const seed of seeds(FIRST_SEED, SCHEDULES, FAULTS)) {
        const verdict = await runSeed(ground, workload, baseline, seed);
        verdicts.push(verdict);
        t.diagnostic(lineOf(verdict));
      }
    } finally {
      await ground.close();
    }
    const { isSound, text, figures } = totalsOf(verdicts, (performance.now() - startedMs) / 1000);
    t.diagnostic(text);
    assert.ok(isSound, text);
    assert.ok(Number(figures['fencedAppends']) > 0, 'no append was ever fenced off');
  },
);

test(
  'without the check of the expected sequence, a zombie and a cut-off worker are found out',
  skip,
  async (t) => {
    const ground = await Ground.open({ fence: false });
    try {
      const workload = new Workload(ground.heddle);
      await workload.prepare();
      const job = { work: 'train', variant: 0 } as const;
      const baseline = await undisturbed(ground, workload, [job]);
      for (const fault of ['zombie', 'cut'] as const) {
        const found = await violationsOf({ ground, workload, baseline }, fault);
        t.diagnostic(`${fault}: ${found[0]}`);
        assert.match(found.join('\n'), /holds it|after completed|done twice|ends/);
      }
    } finally {
      await ground.close();
    }
  },
);

interface Standing {
  readonly ground: Ground;
  readonly workload: Workload;
  readonly baseline: Baseline;
}

/** What a few schedules at the worst moment break. */
async function violationsOf(
  { ground, workload, baseline }: Standing,
  fault: Schedule['fault'],
): Promise<readonly string[]> {
  for (const seed of seeds(1, UNFENCED_TRIES, [fault])) {
    const jobs = [{ work: 'train', variant: 0 }] as const;
    const plan: Schedule = { ...schedule(seed), jobs, target: 0, moment: 'append' };
    const { violations } = await runSchedule(ground, workload, baseline, plan);
    if (violations.length > 0) return violations;
  }
  return [];
}
