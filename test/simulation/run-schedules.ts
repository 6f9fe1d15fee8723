// Runs schedules in a process of its own and prints one JSON line: node:test's hooks on every promise made them three
// times slower. Arguments: first seed, how many, `fence` or `no-fence`.
import { FaultCounts } from './faults.ts';
import { runSchedule } from './schedule.ts';

export interface Summary {
  /** Seeds whose schedule went against a promise, with what. */
  readonly broken: readonly { readonly seed: number; readonly problems: readonly string[] }[];
  readonly faults: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly coreSeconds: number;
}

/** Enough to see a pattern; after a few, more of the same says nothing. */
const BROKEN_MAX = 100;

const [first = '1', count = '1', fence = 'fence'] = process.argv.slice(2);
const counts = new FaultCounts();
const broken: Summary['broken'][number][] = [];
const startedMs = performance.now();
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const problems = await runSchedule({ seed, counts, fence: fence === 'fence' });
  if (problems.length > 0) broken.push({ seed, problems });
  if (broken.length >= BROKEN_MAX) break;
}
const { user, system } = process.cpuUsage();
const summary: Summary = {
  broken,
  faults: Object.fromEntries(counts.counts),
  seconds: (performance.now() - startedMs) / 1000,
  coreSeconds: (user + system) / 1e6,
};
process.stdout.write(`${JSON.stringify(summary)}\n`);
