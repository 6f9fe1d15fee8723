import { OperationError } from '@heddle/core';
import { type Msg, nanos } from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { unavailable } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';

export interface PullFrom {
  readonly stream: string;
  readonly consumer: string;
}

/** What the server answers when there is nothing: timed out, no messages. Everything else deserves a pause. */
const NOTHING: readonly number[] = [404, 408];

/**
 * One message of a pull consumer, or undefined when none came in time, the signal fired or the connection was away
 * meanwhile (the server has then forgotten what was asked). Errors: `unavailable` when nobody answers for the consumer.
 */
export async function pullMessage(
  link: NatsLink,
  { stream, consumer }: PullFrom,
  waitMs: number,
  signal?: AbortSignal,
): Promise<Msg | undefined> {
  if (signal?.aborted) return undefined;
  const inbox = link.inbox();
  const ending = new AbortController();
  let taken: Msg | undefined;
  let failure: OperationError | undefined;
  let pause = false;
  let over = false;
  const end = (): void => ending.abort('ended');
  const subscription = link.nc.subscribe(inbox, {
    callback: (error, message) => {
      const code = message?.headers?.code ?? 0;
      if (error) failure = unavailable(`${stream} could not be pulled from`, error);
      else if (code === 503) failure = unavailable(`nobody answers for ${consumer} of ${stream}`);
      else if (code === 400) failure = refused(stream, message.headers?.description ?? '');
      else if (code === 0 && !ending.signal.aborted && taken === undefined) taken = message;
      else if (code === 0)
        message.respond('-NAK'); // came after we stopped waiting: the next one's
      else pause = !NOTHING.includes(code);
      over = !error; // one message or one status is all that a pull of one gets
      end();
    },
  });
  const leave = link.onReturn(end);
  signal?.addEventListener('abort', end, { once: true });
  try {
    // Whole: parts of a nanosecond, which a fraction of a millisecond leaves, are refused as no number.
    const request = JSON.stringify({ batch: 1, expires: nanos(Math.ceil(waitMs)) });
    link.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, request, { reply: inbox });
  } catch (error) {
    failure = unavailable(`${stream} could not be pulled from`, error); // closed meanwhile
    end();
  }
  await link.clock.sleep(waitMs + NATS_LIMITS.pullGraceMs, ending.signal);
  end();
  leave();
  signal?.removeEventListener('abort', end);
  // Ended by us: the server hears that nobody waits, and what it sent before still reaches the callback.
  if (over) subscription.unsubscribe();
  else void subscription.drain().catch(() => undefined);
  if (failure !== undefined) throw failure;
  if (pause) await link.clock.sleep(NATS_LIMITS.pullPauseMs, signal);
  return taken;
}

/** What we asked makes no sense to the server: ours to mend, and not to be taken for an empty queue. */
function refused(stream: string, why: string): OperationError {
  return new OperationError({
    code: 'internal',
    message: `a pull from ${stream} was refused: ${why}`,
  });
}
