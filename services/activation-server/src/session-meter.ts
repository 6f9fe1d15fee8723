import type { EngineUsage, Metrics } from '@heddle/ports';

/** Turns the session cache's running totals into counters, which only grow by what is new. */
export class SessionMeter {
  private readonly metrics: Metrics;
  private last = { hits: 0, misses: 0, evictions: 0 };

  constructor(metrics: Metrics) {
    this.metrics = metrics;
  }

  record({ hits, misses, evictions }: EngineUsage): void {
    const { metrics, last } = this;
    // A worker that died begins to count anew.
    const since = (now: number, before: number): number => (now >= before ? now - before : now);
    metrics.add('activation_session_lookups_total', since(hits, last.hits), { result: 'hit' });
    metrics.add('activation_session_lookups_total', since(misses, last.misses), { result: 'miss' });
    metrics.add('activation_session_evictions_total', since(evictions, last.evictions));
    this.last = { hits, misses, evictions };
  }
}
