import { OperationError } from '@heddle/core';
import type { Clock, Events, Log, Metrics } from '@heddle/ports';
import type { ContentCache } from './content-cache.ts';
import { PREFETCH_REPEAT_MS, PREFETCH_RETRY_MS } from './limits.ts';

/** A named model of the blob store. */
export interface WantedModel {
  readonly name: string;
  readonly content: string;
  readonly importedMs: number;
}

export interface PrefetcherDeps {
  readonly cache: Pick<ContentCache, 'hold' | 'has' | 'files'>;
  /** All that are named now. */
  readonly named: () => Promise<readonly WantedModel[]>;
  readonly events: Events;
  /** Subjects under which changes of the names are announced. */
  readonly announced: string;
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * *Named models into the cache before somebody waits for them*: the newest first, as many as fit the budget; at the start, and
 * whenever a name is announced. Announcements may be lost: every few minutes it looks by itself.
 */
export class Prefetcher {
  private readonly deps: PrefetcherDeps;
  private readonly closed = new AbortController();
  private running: readonly Promise<void>[] = [];
  private passing: Promise<void> = Promise.resolve();

  constructor(deps: PrefetcherDeps) {
    this.deps = deps;
  }

  /**
   * Resolves when every wanted model was fetched or given up, after `boundMs` in any case; goes on in the background. A model that
   * cannot be had is logged, and does not keep this replica from serving the others.
   */
  async start(boundMs: number): Promise<void> {
    const first = this.pass();
    this.running = [this.listen(), this.repeat()];
    const waited = new AbortController();
    const bound = this.deps.clock.sleep(boundMs, waited.signal).then(
      () => 'late' as const,
      () => undefined,
    );
    const outcome = await Promise.race([first, bound]);
    waited.abort();
    if (outcome === 'late') {
      this.deps.log.warn('serving before every model is here: the rest is fetched meanwhile', {
        boundMs,
      });
    }
  }

  async close(): Promise<void> {
    this.closed.abort();
    await Promise.allSettled([...this.running, this.passing]);
  }

  /** One after another: a second announcement during a pass makes one more pass. */
  private pass(): Promise<void> {
    this.passing = this.passing.then(() =>
      this.fetchWanted().catch((thrown: unknown) => {
        if (this.closed.signal.aborted) return;
        this.deps.log.warn('the named models cannot be told', { cause: thrown });
      }),
    );
    return this.passing;
  }

  private async fetchWanted(): Promise<void> {
    const { cache, metrics, log } = this.deps;
    const wanted = await this.wanted();
    const wantedBytes = wanted.reduce((sum, { bytes }) => sum + bytes, 0);
    metrics.set('models_wanted_bytes', wantedBytes);
    let thereBytes = 0;
    const absent = [];
    for (const model of wanted) {
      if (await cache.has(model.content)) thereBytes += model.bytes;
      else absent.push(model);
    }
    metrics.set('models_there_bytes', thereBytes);
    if (absent.length === 0) return;
    log.info('fetching models', { models: absent.length, wantedBytes, thereBytes });
    for (const { name, content, bytes } of absent) {
      if (!(await this.fetch(name, content))) continue;
      thereBytes += bytes;
      metrics.set('models_there_bytes', thereBytes);
      log.info('a model is here', { model: name, content, wantedBytes, thereBytes });
    }
  }

  /** Newest first, as many as fit. A list that cannot be read is logged and left out. */
  private async wanted() {
    const { cache, named, bytesMax, log } = this.deps;
    const wanted: (WantedModel & { readonly bytes: number })[] = [];
    const seen = new Set<string>();
    let sum = 0;
    for (const model of [...(await named())].sort((a, b) => b.importedMs - a.importedMs)) {
      if (seen.has(model.content)) continue;
      seen.add(model.content);
      try {
        const files = await cache.files(model.content);
        const bytes = files.reduce((total, file) => total + file.bytes, 0);
        if (sum + bytes > bytesMax) continue;
        sum += bytes;
        wanted.push({ ...model, bytes });
      } catch (cause) {
        log.warn('a model cannot be fetched', { model: model.name, content: model.content, cause });
      }
    }
    return wanted;
  }

  /** Twice where the reason may pass. */
  private async fetch(name: string, content: string): Promise<boolean> {
    const { cache, clock, log } = this.deps;
    const { signal } = this.closed;
    for (let attempt = 1; ; attempt++) {
      try {
        (await cache.hold(content, { signal })).release();
        return true;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = OperationError.from(thrown);
        log.warn('a model cannot be fetched', { model: name, content, attempt, cause: error });
        if (!error.retryable || attempt > 1) return false;
        await clock.sleep(error.retryAfterMs ?? PREFETCH_RETRY_MS, signal);
      }
    }
  }

  private async listen(): Promise<void> {
    const { signal } = this.closed;
    try {
      for await (const _ of this.deps.events.subscribe(this.deps.announced, signal))
        void this.pass();
    } catch (cause) {
      if (!signal.aborted) this.deps.log.warn('announcements of models are not heard', { cause });
    }
  }

  private async repeat(): Promise<void> {
    const { signal } = this.closed;
    while (!signal.aborted) {
      await this.deps.clock.sleep(PREFETCH_REPEAT_MS, signal).catch(() => undefined);
      if (!signal.aborted) await this.pass();
    }
  }
}
