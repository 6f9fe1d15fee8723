import type { Blobs, Clock, Journal, Log } from '@heddle/ports';

/** How often the journal is asked … */
const JOURNAL_EVERY_MS = 5_000;
/** … and blobs, which decide nothing here: a look at S3 is three milliseconds of this process, and there are many idle ones. */
const BLOBS_EVERY_MS = 15_000;
/** When an answer is too late. */
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
  /** Told at each look. */
  readonly onLook?: (store: 'journal' | 'blobs', answered: boolean) => void;
  /** Told at each change only. */
  readonly onChange: (isAnswering: boolean) => void;
}

/** Looks at both stores until the signal. Only the journal decides whether the process is ready. */
export async function watchStores(options: HealthOptions, signal: AbortSignal): Promise<void> {
  const { journal, blobs } = options.stores;
  const { log, onChange, onLook = () => undefined } = options;
  await Promise.all([
    watchStore(options, signal, {
      everyMs: JOURNAL_EVERY_MS,
      ask: () => journal.read(NOBODY),
      away: (error) => log.error('the journal is away: not ready', { error }),
      back: () => log.info('the journal answers again: ready'),
      onLook: (answered) => onLook('journal', answered),
      onChange,
    }),
    // Calls and steering go on without blobs; unready replicas would take these away too.
    watchStore(options, signal, {
      everyMs: BLOBS_EVERY_MS,
      ask: () => blobs.stat(NOTHING),
      away: (error) => log.error('the blob store is away: jobs wait for it', { error }),
      back: () => log.info('the blob store answers again'),
      onLook: (answered) => onLook('blobs', answered),
      onChange: () => undefined,
    }),
  ]);
}

interface Watched {
  readonly everyMs: number;
  readonly ask: () => Promise<unknown>;
  readonly away: (error: unknown) => void;
  readonly back: () => void;
  readonly onLook: (answered: boolean) => void;
  readonly onChange: (isAnswering: boolean) => void;
}

/** A process whose journal is gone for long can keep no promise: it says so, and again when it is back; its jobs wait there. */
async function watchStore(
  { clock }: Pick<HealthOptions, 'clock'>,
  signal: AbortSignal,
  { everyMs, ask, away, back, onLook, onChange }: Watched,
): Promise<void> {
  let answeredMs = clock.monotonic();
  let isAnswering = true;
  while (!signal.aborted) {
    const late = new AbortController();
    const failure = await Promise.race([
      ask().then(
        () => undefined,
        (thrown: unknown) => ({ thrown }),
      ),
      clock.sleep(ANSWER_MS, late.signal).then(() => ({ thrown: `no answer in ${ANSWER_MS} ms` })),
    ]);
    late.abort('asked');
    if (failure === undefined) answeredMs = clock.monotonic();
    onLook(failure === undefined);
    const isAway = clock.monotonic() - answeredMs > AWAY_MS;
    if (isAway === isAnswering && !signal.aborted) {
      isAnswering = !isAway;
      if (isAway) away(failure?.thrown);
      else back();
      onChange(isAnswering);
    }
    await clock.sleep(everyMs, signal);
  }
}
