import {
  fold,
  initialState,
  isSettled,
  JobRuntime,
  type JobState,
  jobBehaviour,
  ownerOf,
} from '@heddle/actor';
import { Rng } from '@heddle/core';
import { CountingMetrics, deafEvents, silentLog, TestCallers, VirtualClock } from '@heddle/testkit';
import { FaultCounts, Incarnation, type Weather } from './faults.ts';
import { openStores, type Stores } from './stores.ts';
import { client, kinds, type Order, orders, type Told } from './workload.ts';

/** Faults end after this; what is then still open must come to rest by itself. */
const STORM_MS = 25_000;
/** Virtual time in which every job must be over: ten times the longest chain of waits (freeze, ack wait, reconciler). */
const HUNG_MS = 900_000;
/** In every second schedule so few that tasks are held back, and the processes that hold them die. */
const WINDOWS = [2, 64] as const;

export interface ScheduleOptions {
  readonly seed: number;
  /** Off, appends no longer check the expected sequence. */
  readonly fence?: boolean;
  readonly counts?: FaultCounts;
}

class World {
  readonly clock = new VirtualClock();
  readonly rng: Rng;
  readonly counts: FaultCounts;
  readonly stores: Stores;
  readonly metrics = new CountingMetrics();
  readonly callers = new TestCallers();
  readonly live: { readonly runtime: JobRuntime; readonly life: Incarnation }[] = [];
  over = false;
  private readonly windowTasks: number;
  private names = 0;

  constructor({ seed, fence = true, counts = new FaultCounts() }: ScheduleOptions) {
    this.rng = new Rng(seed);
    this.windowTasks = this.rng.pick(WINDOWS);
    this.counts = counts;
    this.stores = openStores(this.clock, this.rng, fence);
  }

  get weather(): Weather {
    const { clock, rng, counts } = this;
    return {
      clock,
      rng,
      counts,
      get stormy() {
        return clock.monotonic() < STORM_MS;
      },
    };
  }

  runtime(ports: Pick<Incarnation, 'clock' | 'journal' | 'queue' | 'blobs'>): JobRuntime {
    const { clock, journal, queue, blobs } = ports;
    const runtime = new JobRuntime({
      clock,
      journal,
      queue,
      blobs,
      events: deafEvents,
      metrics: this.metrics,
      log: silentLog,
      newName: () => `n${this.names++}`,
      callers: this.callers,
      windowTasks: this.windowTasks,
    });
    for (const kind of kinds(this.weather, this.callers)) runtime.register(kind);
    return runtime;
  }
}

/**
 * Runs one schedule: some replicas that come and go, some clients that want jobs, and faults until the storm is over.
 * Returns what went against a promise, empty when nothing did.
 */
export async function runSchedule(options: ScheduleOptions): Promise<readonly string[]> {
  const world = new World(options);
  const wanted = orders(world.rng);
  const told: Told[] = wanted.map((order) => ({
    order,
    id: undefined,
    cancelled: false,
    completed: undefined,
  }));
  const lives = Array.from({ length: 2 + world.rng.below(2) }, () => replica(world));
  for (const life of lives) life.catch(() => undefined);
  const problems: string[] = [];
  try {
    const clients = told.flatMap((one) => clientsOf(world, one));
    await world.clock.run(Promise.all(clients), HUNG_MS);
    await world.clock.run(emptied(world), HUNG_MS);
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
  world.over = true;
  for (const { life } of world.live) life.crash();
  try {
    problems.push(...(await verdict(world, told)));
  } catch (error) {
    problems.push(`the journal does not fold: ${(error as Error).message}`);
  }
  return problems;
}

function clientsOf(world: World, told: Told): readonly Promise<void>[] {
  const { weather } = world;
  const replicaUp = (): JobRuntime | undefined =>
    world.live.length === 0 ? undefined : world.rng.pick(world.live).runtime;
  const one = (order: Order): Promise<void> =>
    client(order, told, { weather, replica: replicaUp, callers: world.callers });
  const { order } = told;
  const repeated = { ...order, cancelMs: undefined, pauseMs: undefined, atMs: order.atMs + 500 };
  return order.twice ? [one(order), one(repeated)] : [one(order)];
}

/** Comes up, lives a while, dies or is drained, and comes up again; after the storm it stays. */
async function replica(world: World): Promise<void> {
  const { rng, clock, weather } = world;
  while (!world.over) {
    const life = new Incarnation(weather, world.stores);
    const runtime = world.runtime(life);
    const crashed = new Promise<void>((resolve) => {
      life.onCrash = resolve;
    });
    await Promise.race([boot(world, runtime, life), crashed]);
    if (!life.dead) {
      const up = { runtime, life };
      world.live.push(up);
      await Promise.race([fate(world, up), crashed]);
      world.live.splice(world.live.indexOf(up), 1);
    }
    await clock.sleep(rng.below(5_000));
  }
}

async function boot(world: World, runtime: JobRuntime, life: Incarnation): Promise<void> {
  try {
    await runtime.start();
  } catch {
    life.crash(); // could not read the journal: the process exits and is started again
  }
  if (world.weather.stormy && world.rng.below(3) === 0) {
    const ms = world.rng.below(STORM_MS);
    void world.clock.sleep(ms).then(() => life.freeze(10_000 + world.rng.below(20_000)));
  }
}

async function fate(
  world: World,
  { runtime, life }: { readonly runtime: JobRuntime; readonly life: Incarnation },
): Promise<void> {
  const { rng, clock, weather } = world;
  await clock.sleep(1_000 + rng.below(12_000));
  if (!weather.stormy) return new Promise(() => undefined);
  if (rng.below(3) > 0) return life.crash();
  weather.counts.add('drain');
  await runtime.stop(3_000);
  life.crash();
}

/** What is left on the queue must be taken off it: nothing may go round for ever. */
async function emptied(world: World): Promise<void> {
  const { clock, stores } = world;
  for (const { kind } of kinds(world.weather, world.callers)) {
    for (;;) {
      const { waiting, working } = await stores.queue.depth(`tasks.${kind}`);
      if (waiting + working === 0) break;
      await clock.sleep(5_000);
    }
  }
}

/** Compares what the stores hold at the end with what clients were told. */
async function verdict(world: World, told: readonly Told[]): Promise<readonly string[]> {
  const problems: string[] = [];
  const { journal, blobs, queue } = world.stores;
  const falls = world.metrics.value('jobs_actor_falls_total');
  if (falls > 0) problems.push(`${falls} actors fell over their own history`);
  const streams = await journal.streams('job.', 100);
  if (streams.length !== told.length) {
    problems.push(`${told.length} jobs wanted, ${streams.length} in the journal`);
  }
  const states = new Map<string, JobState>();
  for (const stream of streams) {
    let state = initialState(stream.slice('job.'.length));
    for (const { bytes } of await journal.read(stream)) {
      state = fold(state, jobBehaviour.decode(bytes));
    }
    states.set(state.id, state);
  }
  // Long after, a collection must leave every result.
  await world.clock.advance(7_200_000);
  await world.runtime({ clock: world.clock, journal, queue, blobs }).gc({ withinBudgets: true });
  for (const one of told) problems.push(...(await judge(world, one, states)));
  return problems;
}

async function judge(
  world: World,
  { order, id, cancelled, completed }: Told,
  states: ReadonlyMap<string, JobState>,
): Promise<readonly string[]> {
  const state = id === undefined ? undefined : states.get(id);
  if (state === undefined) return [`lost: job ${id} of ${order.key} is not in the journal`];
  if (ownerOf(state) !== order.tenant)
    return [`job ${id} of ${order.tenant} is ${ownerOf(state)}'s`];
  if (!isSettled(state.status)) return [`hung: job ${id} is ${state.status}`];
  if (cancelled && state.status !== 'cancelled') {
    return [`job ${id} was cancelled and is ${state.status}`];
  }
  if (state.status === 'cancelled') {
    return order.cancelMs === undefined ? [`job ${id} was cancelled by nobody`] : [];
  }
  if (state.result === undefined) return [`job ${id} ended as ${state.status}`];
  if (completed?.result?.digest !== state.result.blob) return [`job ${id} has two results`];
  const text = new TextDecoder().decode(await world.stores.blobs.read(state.result.blob));
  return text === order.expected ? [] : [`job ${id} is ${text}, not ${order.expected}`];
}
