import type { Blobs, Clock, Journal, Log } from '@heddle/ports';

/** How often the stores are asked, and when an answer is too late. */
const EVERY_MS = 5_000;
const ANSWER_MS = 5_000;
/** Electing a leader takes JetStream up to 9 s: replicas that all left their Service for that would make an outage of it. */
export const AWAY_MS = 20_000;

/** The name of nothing: asked for, a store must look, and has nothing to send. */
const NOBODY = 'job.nobody';
const NOTHING = `sha256:${'0'.repeat(64)}` as const;

export interface HealthOptions {
  readonly stores: { readonly journal: Pick<Journal, 'read'>; readonly blobs: Pick<Blobs, 'stat'> };
  readonly clock: Clock;
  readonly log: Log;
  /** Told at each change only. */
  readonly onChange: (isAnswering: boolean) => void;
}

/** One question to each store. Errors: theirs, or `unavailable` when one says nothing. */
async function ask({ journal, blobs }: HealthOptions['stores']): Promise<void> {
  await Promise.all([journal.read(NOBODY), blobs.stat(NOTHING)]);
}

/**
 * Looks at the stores until the signal. A process whose stores are gone for long can keep no promise: it says so, and again
 * when they are back; its jobs wait in them meanwhile.
 */
export async function watchStores(options: HealthOptions, signal: AbortSignal): Promise<void> {
  const { stores, clock, log, onChange } = options;
  let answeredMs = clock.monotonic();
  let isAnswering = true;
  while (!signal.aborted) {
    const late = new AbortController();
    const failure = await Promise.race([
      ask(stores).then(
        () => undefined,
        (thrown: unknown) => ({ thrown }),
      ),
      clock.sleep(ANSWER_MS, late.signal).then(() => ({ thrown: `no answer in ${ANSWER_MS} ms` })),
    ]);
    late.abort('asked');
    if (failure === undefined) answeredMs = clock.monotonic();
    const isAway = clock.monotonic() - answeredMs > AWAY_MS;
    if (isAway === isAnswering && !signal.aborted) {
      isAnswering = !isAway;
      if (isAway) log.error('the stores are away: not ready', { reason: failure?.thrown });
      else log.info('the stores answer again: ready');
      onChange(isAnswering);
    }
    await clock.sleep(EVERY_MS, signal);
  }
}
