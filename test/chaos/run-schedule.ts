import { OperationError } from '@heddle/core';
import { until } from '@heddle/testkit';
import type { Ground } from './ground.ts';
import { type Planned, type Schedule, schedule } from './schedule.ts';
import { type Blow, strike } from './strike.ts';
import { patiently, type Workload } from './work.ts';

/** After the fault is over, everything must be: a job that needs longer hangs. */
const HUNG_MS = 240_000;
/** What a job leaves on the queue is handed out once more and found to be over. */
const LEFTOVERS_MS = 60_000;
/** A job that waits so long for its first attempt, with nothing broken, hangs. */
const BEGIN_MS = 120_000;
/** A fault that came too early or too late is tried again at another time, so often. */
const TRIES_MAX = 20;

/** What a job made, and how long it took, when nothing broke. */
export interface Undisturbed {
  readonly digest: string;
  readonly seconds: number;
}

export type Baseline = ReadonlyMap<string, Undisturbed>;

export interface Verdict {
  readonly seed: number;
  readonly fault: Schedule['fault'];
  readonly jobs: readonly string[];
  /** The kind of job that was hit, and who was. */
  readonly target: string;
  readonly victim: string;
  /** Where its journal stood at the fault, and where it ended. */
  readonly sequence: number;
  readonly sequenceEnd: number;
  readonly redeliveries: number;
  readonly fencedAppends: number;
  readonly tries: number;
  readonly seconds: number;
  /** Sentences; empty when every promise was kept. */
  readonly violations: readonly string[];
}

export const nameOf = ({ work, variant }: Planned): string => `${work}.${variant}`;

/** Runs each request once while nothing breaks. */
export async function undisturbed(
  ground: Ground,
  workload: Workload,
  wanted: readonly Planned[],
): Promise<Baseline> {
  const baseline = new Map<string, Undisturbed>();
  for (const planned of wanted) {
    const startedMs = performance.now();
    const id = await workload.start(planned, `undisturbed.${nameOf(planned)}`);
    const story = await settled(ground, id, HUNG_MS);
    if (story?.end !== 'completed')
      throw new Error(`${id} without a fault: ${await describe(ground, id)}`);
    const seconds = (performance.now() - startedMs) / 1000;
    baseline.set(nameOf(planned), { digest: await workload.digestOf(id), seconds });
    // Passes have their name from what they are asked: the same question must be asked anew.
    await collect(ground);
  }
  return baseline;
}

/** One seed, with its fault at other times until it hits the target between its first and its last event. */
export async function runSeed(
  ground: Ground,
  workload: Workload,
  baseline: Baseline,
  seed: number,
): Promise<Verdict> {
  const startedMs = performance.now();
  const violations: string[] = [];
  for (let tries = 0; ; tries++) {
    const plan = schedule(seed, tries);
    const one = await runSchedule(ground, workload, baseline, plan).catch(
      async (thrown: unknown) => {
        await ground.recover();
        const why = thrown instanceof Error ? thrown.message : String(thrown);
        return { blow: undefined, sequenceEnd: 0, violations: [`could not be finished: ${why}`] };
      },
    );
    violations.push(...one.violations);
    const { blow, sequenceEnd } = one;
    if (blow === undefined && tries + 1 < TRIES_MAX && violations.length === 0) continue;
    if (blow === undefined && violations.length === 0)
      violations.push(`the fault missed its job ${tries + 1} times`);
    const { redeliveries, fenced } = await ground.tally();
    return {
      ...{ seed, fault: plan.fault, sequenceEnd, redeliveries, violations, tries: tries + 1 },
      jobs: plan.jobs.map(nameOf),
      target: plan.jobs[plan.target]?.work ?? '',
      victim: blow?.victim ?? 'nobody',
      sequence: blow?.sequence ?? 0,
      fencedAppends: fenced,
      seconds: (performance.now() - startedMs) / 1000,
    };
  }
}

interface Once {
  /** Undefined: it did not hit the target between its first and its last event. */
  readonly blow: Blow | undefined;
  readonly sequenceEnd: number;
  readonly violations: readonly string[];
}

/** One schedule: jobs, the fault, and what became of them. */
export async function runSchedule(
  ground: Ground,
  workload: Workload,
  baseline: Baseline,
  plan: Schedule,
): Promise<Once> {
  const { seed, tries } = plan;
  const ids: string[] = [];
  for (const [i, planned] of plan.jobs.entries()) {
    ids.push(await workload.start(planned, `seed${seed}.${tries}.${i}`));
  }
  const target = ids[plan.target] ?? '';
  const hit = plan.jobs[plan.target];
  const seconds = (hit && baseline.get(nameOf(hit))?.seconds) ?? 0;
  await until(
    `${target} begins`,
    async () => {
      const { starts, end } = await ground.story(target);
      return starts > 0 || end !== undefined;
    },
    { withinMs: BEGIN_MS },
  );
  await new Promise((resolve) => setTimeout(resolve, plan.share * seconds * 1000));
  const blow = await strike(ground, plan, target);
  const violations: string[] = [];
  for (const [i, planned] of plan.jobs.entries()) {
    const digest = baseline.get(nameOf(planned))?.digest;
    violations.push(...(await judge(ground, workload, ids[i] ?? '', digest)));
  }
  const story = await ground.story(target);
  if (violations.length === 0) violations.push(...(await leftovers(ground)));
  const isHit = blow !== undefined && blow.sequence < story.sequence && blow.atMs < story.lastMs;
  return { blow: isHit ? blow : undefined, sequenceEnd: story.sequence, violations };
}

/** The story once it has ended or is broken; undefined when neither happens in time. */
async function settled(ground: Ground, id: string, withinMs: number) {
  const untilMs = performance.now() + withinMs;
  for (;;) {
    const story = await ground.story(id);
    if (story.end !== undefined || story.violations.length > 0) return story;
    if (performance.now() > untilMs) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The same of a job that was there; a collected one that a killed server gave back is gone once it is read. */
async function settledOrRemoved(ground: Ground, id: string) {
  const { sequence } = await ground.story(id);
  return sequence === 0 ? 'removed' : settled(ground, id, HUNG_MS);
}

/** Ended once, in order, with the result of an undisturbed run, and told like that to whoever asks. */
async function judge(
  ground: Ground,
  workload: Workload,
  id: string,
  digest: string | undefined,
): Promise<readonly string[]> {
  try {
    const story = await settled(ground, id, HUNG_MS);
    if (story === undefined) return [`${id} hangs: ${await describe(ground, id)}`];
    if (story.violations.length > 0) return story.violations.map((what) => `${id}: ${what}`);
    if (story.end !== 'completed') return [`${id}: ${await describe(ground, id)}`];
    const { job } = await patiently(() => ground.heddle.jobs.Get({ id }));
    const problems: string[] = [];
    if (job?.state !== 'JOB_STATE_SUCCEEDED') problems.push(`${id} is told to be ${job?.state}`);
    if (job?.sequence !== story.sequence) {
      problems.push(
        `${id} is told at event ${job?.sequence}, its journal ends at ${story.sequence}`,
      );
    }
    const found = await workload.digestOf(id);
    if (found !== digest) problems.push(`${id} made ${found}, undisturbed ${digest}`);
    return problems;
  } catch (thrown) {
    const { code, message } = OperationError.from(thrown);
    return [`${id}: ${code} ${message}`];
  }
}

async function describe(ground: Ground, id: string): Promise<string> {
  const { kind, sequence, done, tasks, running, end, errors } = await ground.story(id);
  const { left } = await ground.queued(kind);
  const holders = [...running].map(
    ([task, claim]) => `${task} held by ${ground.holderOf(claim)?.name ?? claim}`,
  );
  return `${end ?? 'open'} at event ${sequence}, ${done} of ${tasks} tasks done, ${holders.join(', ') || 'nobody works'}, ${left} messages${errors.map((error) => `; ${error}`).join('')}`;
}

/** Nothing is left: no job that somebody else started on the way, no message, nothing given up. Then rubbish is collected. */
async function leftovers(ground: Ground): Promise<readonly string[]> {
  const problems: string[] = [];
  const kinds = new Set<string>();
  for (const id of await ground.jobs()) {
    const story = await settledOrRemoved(ground, id);
    if (story === 'removed') continue;
    if (story === undefined) problems.push(`${id} hangs: ${await describe(ground, id)}`);
    else {
      kinds.add(story.kind);
      for (const what of story.violations) problems.push(`${id}: ${what}`);
    }
  }
  for (const kind of kinds) {
    const isEmpty = async (): Promise<boolean> => (await ground.queued(kind)).left === 0;
    await until('', isEmpty, { withinMs: LEFTOVERS_MS }).catch(() => undefined);
    const { left, dead } = await ground.queued(kind);
    if (left > 0) problems.push(`${left} messages of ${kind} are left on the queue`);
    if (dead > 0) problems.push(`${dead} dead letters of ${kind}`);
  }
  await collect(ground);
  return problems;
}

async function collect({ heddle }: Ground): Promise<void> {
  await patiently(() => heddle.jobs.CollectGarbage({ dry_run: false }));
}
