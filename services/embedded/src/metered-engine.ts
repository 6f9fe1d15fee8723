import { OperationError } from '@heddle/core';
import type { Clock, Engine, Metrics } from '@heddle/ports';

export interface EngineMetering {
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonic'>;
}

const OUTCOMES: Readonly<Record<string, string>> = {
  cancelled: 'cancelled',
  resource_exhausted: 'refused',
  unavailable: 'died',
};

/** The same engine, with its plans counted by the provider that they run on. It has started: its provider is chosen. */
export async function meteredEngine(
  engine: Engine,
  { metrics, clock }: EngineMetering,
): Promise<Engine> {
  const { provider, refused } = await engine.report();
  metrics.set('engine_provider_info', 1, { provider });
  for (const each of refused) {
    metrics.set('engine_provider_refused', 1, { provider: each.provider });
  }
  let open = 0;
  const show = async (by: 1 | -1): Promise<void> => {
    open += by;
    metrics.set('engine_plans_open', open);
    const { sessionsOpen, residentBytes } = await engine.usage();
    metrics.set('engine_sessions_open', sessionsOpen);
    metrics.set('engine_session_bytes', residentBytes);
  };
  const run: Engine['run'] = async (plan, options) => {
    const startedMs = clock.monotonic();
    void show(1);
    let outcome = 'ok';
    try {
      return await engine.run(plan, options);
    } catch (thrown) {
      outcome = OUTCOMES[OperationError.from(thrown).code] ?? 'failed';
      throw thrown;
    } finally {
      metrics.add('engine_runs_total', 1, { provider, outcome });
      metrics.observe('engine_run_seconds', (clock.monotonic() - startedMs) / 1000, { provider });
      void show(-1);
    }
  };
  return {
    run,
    report: () => engine.report(),
    usage: () => engine.usage(),
    close: () => engine.close(),
  };
}
