import type { Verdict } from './run-schedule.ts';
import { FAULTS } from './schedule.ts';

/** One schedule as a line; a broken promise below it, and how to see it again. */
export function lineOf(verdict: Verdict): string {
  const { seed, fault, target, victim, sequence, sequenceEnd, violations } = verdict;
  const where = `${target} at event ${sequence} of ${sequenceEnd}`;
  const counts = `${verdict.redeliveries} redelivered ${verdict.fencedAppends} fenced`;
  const tries = verdict.tries > 1 ? ` (try ${verdict.tries})` : '';
  const line = `seed ${`${seed}`.padStart(4)} ${fault.padEnd(7)} ${victim.padEnd(24)} ${where.padEnd(26)} ${counts} ${verdict.seconds.toFixed(1)} s${tries}`;
  if (violations.length === 0) return line;
  const again = `npm run chaos -- --seeds 1 --seed ${seed}`;
  return [line, ...violations.map((what) => `     BROKEN ${what}`), `     again: ${again}`].join(
    '\n',
  );
}

interface Totals {
  readonly isSound: boolean;
  readonly text: string;
  readonly figures: Readonly<Record<string, unknown>>;
}

export function totalsOf(verdicts: readonly Verdict[], seconds: number): Totals {
  const sum = (pick: (verdict: Verdict) => number): number =>
    verdicts.reduce((total, verdict) => total + pick(verdict), 0);
  const byFault = Object.fromEntries(
    FAULTS.map((fault) => [fault, verdicts.filter((one) => one.fault === fault).length]),
  );
  const broken = verdicts.filter(({ violations }) => violations.length > 0).map(({ seed }) => seed);
  const figures = {
    schedules: verdicts.length,
    byFault,
    jobs: sum(({ jobs }) => jobs.length),
    redeliveries: sum(({ redeliveries }) => redeliveries),
    fencedAppends: sum(({ fencedAppends }) => fencedAppends),
    repeated: sum(({ tries }) => tries - 1),
    seconds: Math.round(seconds),
    broken,
  };
  const each = FAULTS.map((fault) => `${byFault[fault]} ${fault}`).join(', ');
  const text = [
    '',
    `${figures.schedules} schedules (${each}) over ${figures.jobs} jobs in ${(seconds / 60).toFixed(1)} minutes`,
    `${figures.redeliveries} redeliveries, ${figures.fencedAppends} appends fenced off, ${figures.repeated} schedules repeated because the fault missed`,
    broken.length === 0
      ? 'every job ended once, with the result of an undisturbed run'
      : `BROKEN: seeds ${broken.join(', ')}`,
  ].join('\n');
  return { isSound: broken.length === 0 && verdicts.length > 0, text, figures };
}
