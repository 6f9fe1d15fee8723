import { Rng } from '@heddle/core';

/** What breaks. Which of them a seed draws does not depend on what else is asked for: seed 17 is always the same one. */
export const FAULTS = ['service', 'nats', 'worker', 'disk', 'zombie', 'cut'] as const;
export type Fault = (typeof FAULTS)[number];

/** Jobs of these kinds run in a schedule; which of its requests each gets is drawn too. */
export const WORK = ['train', 'trace', 'fit', 'cache'] as const;
export type Work = (typeof WORK)[number];

/** The longest and shortest that something is away: more than the ack wait (1 s), so that others take over meanwhile. */
const AWAY_MS = [1_400, 2_600] as const;
/** The pause of a supervisor before it starts again what died. */
const RESTART_MS = [0, 800] as const;

export interface Planned {
  readonly work: Work;
  readonly variant: number;
}

/** One storm over some jobs, all of it drawn from the seed. */
export interface Schedule {
  readonly seed: number;
  /** Each try has the fault at another time. */
  readonly tries: number;
  readonly fault: Fault;
  readonly jobs: readonly Planned[];
  /** Whose worker is hit: index into `jobs`. */
  readonly target: number;
  /** When, as a share of the time that the target takes undisturbed, from its first attempt on. */
  readonly share: number;
  /**
   * `append`: instead of at that time, at the moment after it in which the worker's next event for the job leaves it; that event then arrives
   * when others have taken over. It is the worst moment of a zombie or a cut, and too short to be met by chance.
   */
  readonly moment: 'time' | 'append';
  /** How long the victim is away. */
  readonly awayMs: number;
  /** Draws the victim among what there is: for `service` a process, for `disk` whose disk. */
  readonly victim: number;
}

/** Two or three jobs of different kinds at a time keep two cores and all workers busy. */
const MIXES: readonly (readonly Work[])[] = [
  ['train', 'trace'],
  ['train', 'cache'],
  ['fit', 'train'],
  ['trace', 'cache'],
  ['trace', 'fit', 'train'],
];

export function faultOf(seed: number): Fault {
  return FAULTS[seed % FAULTS.length] as Fault;
}

export function schedule(seed: number, tries = 0): Schedule {
  const rng = new Rng(seed);
  const pick = <T>(items: readonly T[]): T => items[rng.below(items.length)] as T;
  const fault = faultOf(seed);
  const jobs = pick(MIXES).map((work) => ({ work, variant: rng.below(VARIANTS) }));
  const target = rng.below(jobs.length);
  const victim = rng.below(1_000);
  for (let i = 0; i < tries; i++) rng.word();
  const [least, most] =
    fault === 'zombie' || fault === 'cut' || fault === 'disk' ? AWAY_MS : RESTART_MS;
  return {
    ...{ seed, tries, fault, jobs, target, victim },
    share: 0.05 + 0.6 * rng.uniform(),
    moment: (fault === 'zombie' || fault === 'cut') && rng.uniform() < 0.5 ? 'append' : 'time',
    awayMs: Math.round(least + (most - least) * rng.uniform()),
  };
}

/** Requests of each kind that differ in what they compute. */
export const VARIANTS = 2;

/** The first `count` seeds from `first` on whose fault is asked for. */
export function* seeds(first: number, count: number, faults: readonly Fault[]): Generator<number> {
  let found = 0;
  for (let seed = first; found < count; seed++) {
    if (!faults.includes(faultOf(seed))) continue;
    found += 1;
    yield seed;
  }
}
