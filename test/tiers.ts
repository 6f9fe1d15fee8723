/** One step of the pyramid: which files, what they need beyond npm, and how long the tier may take. */
export interface Tier {
  readonly name: string;
  readonly files: readonly string[];
  readonly except?: readonly string[];
  /** Part of `npm run test:quick`. */
  readonly quick: boolean;
  /** Only when it is named: what measures time on a machine that does nothing else, or needs servers that take long to build. */
  readonly named?: true;
  /** Test files at a time; 1 where a tier measures memory, kills processes or wants both cores. */
  readonly concurrency: number;
  /** After so long it hangs: several times what it takes on the slowest machine that it ran on. */
  readonly minutes: number;
  readonly promise: string;
}

const ROOMS = '{libs,services}/**';

/** In the order in which they run: what fails fast and says most comes first. */
export const TIERS: readonly Tier[] = [
  {
    name: 'tidy',
    files: ['test/tidy/**/*.test.ts'],
    quick: true,
    concurrency: 2,
    minutes: 10,
    promise: 'rooms, vendors’ doors, names, sizes, types, lint, contracts',
  },
  {
    name: 'unit',
    files: [`${ROOMS}/*.test.ts`],
    except: [`${ROOMS}/*.{laws,golden,contract}.test.ts`],
    quick: true,
    concurrency: 2,
    minutes: 15,
    promise: 'each pure function, each transition',
  },
  {
    name: 'laws',
    files: [`${ROOMS}/*.laws.test.ts`],
    quick: true,
    concurrency: 2,
    minutes: 15,
    promise: 'the equations that would be false if the code were broken',
  },
  {
    name: 'golden',
    files: [`${ROOMS}/*.golden.test.ts`, 'test/golden/**/*.test.ts'],
    quick: true,
    concurrency: 2,
    minutes: 15,
    promise: 'agrees with independent implementations',
  },
  {
    name: 'contract',
    files: [`${ROOMS}/*.contract.test.ts`],
    quick: false,
    concurrency: 2,
    minutes: 15,
    promise: 'all implementations of a port behave alike',
  },
  {
    name: 'deploy',
    files: ['test/deploy/**/*.test.ts'],
    quick: false,
    concurrency: 2,
    minutes: 10,
    promise: 'chart, rules and dashboards say what the code says',
  },
  {
    name: 'simulation',
    files: ['test/simulation/**/*.test.ts'],
    quick: false,
    concurrency: 2,
    minutes: 25,
    promise: 'no lost, doubled or hung job under crash, duplicate, delay, reorder',
  },
  {
    name: 'cluster',
    files: ['test/cluster/**/*.test.ts'],
    quick: false,
    concurrency: 1,
    minutes: 25,
    promise: 'real processes, real wire, kill -9',
  },
  {
    name: 'compat',
    files: ['test/compat/**/*.test.ts'],
    quick: false,
    concurrency: 1,
    minutes: 10,
    promise: 'clients and journals of the first landing work with today’s server',
  },
  {
    name: 'chaos',
    files: ['test/chaos/**/*.test.ts'],
    quick: false,
    concurrency: 1,
    minutes: 15,
    promise:
      'killed, frozen, cut off, out of disk: every accepted job ends once, with the same result',
  },
  {
    name: 'load',
    files: ['test/load/**/*.test.ts'],
    quick: false,
    named: true,
    concurrency: 1,
    minutes: 60,
    promise: 'what the cluster costs, and how it scales, against bare engines in the same run',
  },
  {
    name: 'containers',
    files: ['test/containers/**/*.test.ts'],
    quick: false,
    concurrency: 1,
    minutes: 25,
    promise: 'the images run as the chart runs them, and do the main job',
  },
  {
    name: 'kubernetes',
    files: ['test/kubernetes/**/*.test.ts'],
    quick: false,
    named: true,
    concurrency: 1,
    minutes: 25,
    promise: 'admitted, scheduled, scaled and drained by a real control plane',
  },
  {
    name: 'fuzz',
    files: ['test/fuzz/**/*.test.ts'],
    quick: false,
    concurrency: 2,
    minutes: 15,
    promise: 'damaged files and requests get typed errors',
  },
  {
    name: 'examples',
    files: ['test/examples/**/*.test.ts'],
    quick: false,
    concurrency: 1,
    minutes: 10,
    promise: 'the examples run and end as they say',
  },
];
