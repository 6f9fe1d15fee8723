import { AsyncLocalStorage } from 'node:async_hooks';
import { OperationError } from '@heddle/core';
import type { CallOptions, Clients, Clock } from '@heddle/ports';
import { CONTRACTS, type Method, methodsOf } from './contracts.ts';
import { IDEMPOTENT } from './gen/idempotency.ts';
import { PATIENCE_DELAY_MS_MAX, PATIENCE_DELAY_MS_MIN, PATIENCE_MS } from './limits.ts';

/** Whether a call of somebody is being answered: he waits, and is told rather than kept. */
const answering = new AsyncLocalStorage<true>();

/** Runs what answers a call. */
export const whileAnswering = <T>(body: () => T): T => answering.run(true, body);

/** Whether what runs now was begun by a call that somebody waits for. */
export const isAnswering = (): boolean => answering.getStore() === true;

type Anything = (request: unknown, options?: CallOptions) => unknown;

/**
 * Clients for the tasks of jobs. A peer that is full, or that is being started again, is asked again when it said to: an hour of a
 * job must not fail, nor use up its attempts, because another's load or a roll-out took a minute. What was refused was not begun,
 * so it is asked again whatever the method; what was lost on the way only where asking twice is the same as once, and
 * a stream only before its first message. While a call of somebody is answered nothing waits: he is told.
 */
export function patientClients<Some extends Partial<Clients>>(
  clients: Some,
  clock: Pick<Clock, 'monotonic' | 'sleep'>,
): Some {
  const given = CONTRACTS.filter((contract) => clients[contract] !== undefined);
  const patient = given.map((contract) => {
    const known = clients[contract] as unknown as Readonly<Record<string, Anything>>;
    const methods = methodsOf(contract).flatMap(([name, method]) => {
      const call = known[name];
      return call === undefined ? [] : [[name, patiently(method, call, clock)] as const];
    });
    return [contract, Object.fromEntries(methods)];
  });
  return Object.fromEntries(patient) as Some;
}

function patiently(
  method: Method,
  call: Anything,
  clock: Pick<Clock, 'monotonic' | 'sleep'>,
): Anything {
  if (method.requestStream) return call; // what was read of the requests is gone
  const wait = (options: CallOptions | undefined) => new Wait(method, clock, options?.signal);
  if (!method.responseStream) {
    return async (request, options) => {
      for (const waiting = wait(options); ; ) {
        try {
          return await call(request, options);
        } catch (thrown) {
          await waiting.out(thrown);
        }
      }
    };
  }
  return (request, options) => {
    // Asked for now, in the name of who asks now, and not when somebody reads.
    const first = call(request, options) as AsyncIterable<unknown>;
    const waiting = wait(options);
    return again(first, () => call(request, options) as AsyncIterable<unknown>, waiting);
  };
}

async function* again(
  first: AsyncIterable<unknown>,
  next: () => AsyncIterable<unknown>,
  waiting: Wait,
): AsyncGenerator<unknown> {
  for (let stream = first; ; stream = next()) {
    let begun = false;
    try {
      for await (const message of stream) {
        begun = true;
        yield message;
      }
      return;
    } catch (thrown) {
      if (begun) throw thrown;
      await waiting.out(thrown);
    }
  }
}

/** The patience of one call. */
class Wait {
  private readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  private readonly signal: AbortSignal | undefined;
  private readonly mayRepeat: boolean;
  private readonly untilMs: number;
  private delayMs = PATIENCE_DELAY_MS_MIN;

  constructor(
    method: Method,
    clock: Pick<Clock, 'monotonic' | 'sleep'>,
    signal: AbortSignal | undefined,
  ) {
    this.clock = clock;
    this.signal = signal;
    this.mayRepeat = IDEMPOTENT.has(method.path);
    // A wait that nobody can end must end soon.
    const forMs = signal === undefined ? PATIENCE_DELAY_MS_MAX : PATIENCE_MS;
    this.untilMs = clock.monotonic() + (isAnswering() ? 0 : forMs);
  }

  /** Resolves when it is time to ask again. Errors: what was thrown, where asking again would not help or is not allowed. */
  async out(thrown: unknown): Promise<void> {
    const error = OperationError.from(thrown);
    const isRefusal = error.code === 'resource_exhausted' && error.retryAfterMs !== undefined;
    const isLoss = error.code === 'unavailable' && this.mayRepeat;
    const ended = this.signal?.aborted === true || this.clock.monotonic() >= this.untilMs;
    if (ended || !(isRefusal || isLoss)) throw thrown;
    const asked = Math.max(error.retryAfterMs ?? 0, this.delayMs);
    this.delayMs *= 2;
    await this.clock.sleep(Math.min(asked, PATIENCE_DELAY_MS_MAX), this.signal);
    this.signal?.throwIfAborted();
  }
}
