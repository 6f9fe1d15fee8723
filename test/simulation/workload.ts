import type { JobKind, JobRuntime, JobView } from '@heddle/actor';
import { type Json, OperationError, type Rng } from '@heddle/core';
import { type CountRequest, countingKind, countingResult, type TestCallers } from '@heddle/testkit';
import type { Weather } from './faults.ts';

/** Attempts are not what is tested here: with so many, no job may fail, however hard the storm. */
const LIMITS = { attemptsMax: 1_000, ackWaitMs: 9_000 };

interface SumRequest {
  readonly [name: string]: Json;
  readonly parts: number[];
  /** Whose job it is: its tasks must run in this name. */
  readonly tenant: string;
}

/** The kinds of a replica; their compute is a sleep on the replica's clock, so it dies with the replica. */
export function kinds(weather: Weather, callers: TestCallers): readonly JobKind[] {
  const sum: JobKind<SumRequest, number> = {
    kind: 'sum.parts',
    limits: { ...LIMITS, concurrency: 2 },
    split: ({ parts }) => parts.map((input) => ({ input })),
    run: async ({ request, input }, context) => {
      const { tenant } = callers.current();
      if (tenant !== request.tenant) throw new Error(`run as '${tenant}' for ${request.tenant}`);
      await context.clock.sleep(300 + input * 40, context.signal);
      await context.pulse();
      if (weather.stormy && weather.rng.uniform() < 0.1) {
        throw new OperationError({ code: 'unavailable', message: 'simulated: try again' });
      }
      return { bytes: new TextEncoder().encode(`${input}`) };
    },
    reduce: async (_task, results, context) => {
      let total = 0;
      for (const { blob } of results) {
        total += Number(new TextDecoder().decode(await context.blobs.read(blob)));
      }
      return { bytes: new TextEncoder().encode(`${total}`) };
    },
  };
  const count = { ...countingKind(), limits: LIMITS };
  return [count as unknown as JobKind, sum as unknown as JobKind];
}

/** One client's wish, and when it will change its mind. */
export interface Order {
  /** Two tenants may use the same one. */
  readonly key: string;
  readonly tenant: string;
  readonly kind: string;
  readonly request: CountRequest | SumRequest;
  readonly expected: string;
  readonly atMs: number;
  readonly cancelMs: number | undefined;
  readonly pauseMs: number | undefined;
  /** Two clients with the same key, as after a lost reply. */
  readonly twice: boolean;
}

/** One is nobody in particular, as where no tokens are asked for. */
export const TENANTS = ['', 'alice', 'bob'] as const;

export function orders(rng: Rng): readonly Order[] {
  const counts = new Map<string, number>();
  return Array.from({ length: 1 + rng.below(3) }, (): Order => {
    const atMs = rng.below(8_000);
    const tenant = rng.pick(TENANTS);
    const count = counts.get(tenant) ?? 0;
    counts.set(tenant, count + 1);
    const common = {
      key: `key-${count}`,
      tenant,
      atMs,
      cancelMs: rng.below(6) === 0 ? atMs + rng.below(15_000) : undefined,
      pauseMs: rng.below(6) === 0 ? atMs + rng.below(15_000) : undefined,
      twice: rng.below(4) === 0,
    };
    if (rng.below(2) === 0) {
      const parts = Array.from({ length: 1 + rng.below(4) }, () => rng.below(50));
      const expected =
        parts.length === 1 ? `${parts[0]}` : `${parts.reduce((sum, part) => sum + part, 0)}`;
      return { ...common, kind: 'sum.parts', request: { parts, tenant }, expected };
    }
    const steps = 3 + rng.below(8);
    const every = 1 + rng.below(4);
    const request = { seed: rng.below(1_000), steps, every, stepMs: 200 + rng.below(1_500) };
    return { ...common, kind: 'count.steps', request, expected: countingResult(request) };
  });
}

/** What a client was told: it must stay true. */
export interface Told {
  readonly order: Order;
  id: string | undefined;
  cancelled: boolean;
  completed: JobView | undefined;
}

export interface ClientOptions {
  readonly weather: Weather;
  /** Any replica that is up; undefined when none is. */
  readonly replica: () => JobRuntime | undefined;
  readonly callers: TestCallers;
}

/** Submits, changes its mind, and asks until the job is over; insists when a call fails or nobody answers. */
export function client(order: Order, told: Told, options: ClientOptions): Promise<void> {
  return options.callers.as(order.tenant, () => asTenant(order, told, options));
}

async function asTenant(order: Order, told: Told, options: ClientOptions): Promise<void> {
  const { weather } = options;
  const { clock } = weather;
  await clock.sleep(order.atMs);
  const { key, kind, request } = order;
  const view = await insist(options, (replica) => replica.submit(kind, request, { key }));
  if (told.id !== undefined && told.id !== view.id) throw new Error(`${key} names two jobs`);
  told.id = view.id;
  await Promise.all([cancel(order, told, options), pause(order, view.id, options)]);
  for (;;) {
    const before = told.completed;
    const now = await insist(options, (replica) => replica.get(view.id));
    observe(told, now, before);
    if (now.status === 'completed' || now.status === 'cancelled') break;
    if (now.status === 'failed') throw new Error(`${view.id} failed: ${now.error?.message}`);
    await clock.sleep(2_000);
  }
  const seen = await options.callers.as('mallory', () =>
    insist(options, (replica) => replica.get(view.id), 'not_found'),
  );
  if (seen !== undefined) throw new Error(`${view.id} is shown to another tenant`);
}

async function cancel(order: Order, told: Told, options: ClientOptions): Promise<void> {
  const { cancelMs } = order;
  if (cancelMs === undefined) return;
  await options.weather.clock.sleep(cancelMs - order.atMs);
  const id = told.id ?? '';
  const done = await insist(options, (replica) => replica.cancel(id), 'failed_precondition');
  if (done?.status === 'cancelled') told.cancelled = true;
}

async function pause(order: Order, id: string, options: ClientOptions): Promise<void> {
  if (order.pauseMs === undefined) return;
  await options.weather.clock.sleep(order.pauseMs - order.atMs);
  await insist(options, (replica) => replica.pause(id), 'failed_precondition');
  await options.weather.clock.sleep(5_000);
  await insist(options, (replica) => replica.resume(id), 'failed_precondition');
}

/** A job has one result: whoever asks, and who asks after it was seen sees it. */
function observe(told: Told, view: JobView, before: JobView | undefined): void {
  if (view.status === 'completed') {
    const other = told.completed?.result?.digest ?? view.result?.digest;
    if (other !== view.result?.digest) throw new Error(`${view.id} has another result than before`);
    told.completed = view;
  } else if (before !== undefined) {
    throw new Error(`${view.id} was completed and is ${view.status}`);
  }
}

function insist(
  options: ClientOptions,
  body: (replica: JobRuntime) => Promise<JobView>,
): Promise<JobView>;
function insist(
  options: ClientOptions,
  body: (replica: JobRuntime) => Promise<JobView>,
  refusal: string,
): Promise<JobView | undefined>;
async function insist(
  { weather, replica }: ClientOptions,
  body: (replica: JobRuntime) => Promise<JobView>,
  refusal?: string,
): Promise<JobView | undefined> {
  const { clock, rng } = weather;
  for (;;) {
    const up = replica();
    if (up !== undefined) {
      const patience = new AbortController();
      try {
        const silence = clock.sleep(20_000, patience.signal).then(() => 'silence' as const);
        const answer = await Promise.race([body(up), silence]);
        patience.abort('answered');
        if (answer !== 'silence') return answer;
      } catch (thrown) {
        patience.abort('answered');
        const error = OperationError.from(thrown);
        if (error.code === refusal) return undefined;
        const passing = ['unavailable', 'deadline_exceeded', 'aborted'].includes(error.code);
        if (!passing) throw error;
      }
    }
    await clock.sleep(200 + rng.below(800));
  }
}
