import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Code, OperationError } from '@heddle/core';
import type { Engine } from '@heddle/ports';
import { CountingMetrics, VirtualClock } from '@heddle/testkit';
import { meteredEngine } from './metered-engine.ts';
import { ENGINE_METRICS } from './metrics.ts';

test('plans are counted by provider and end, and a provider that did not serve is named', async () => {
  const metrics = new CountingMetrics();
  metrics.register(ENGINE_METRICS);
  let fails: Code | undefined;
  const engine: Engine = {
    report: async () => ({
      provider: 'cpu',
      refused: [{ provider: 'cuda', reason: 'no driver' }],
      threads: 1,
      version: 'none',
    }),
    run: async () => {
      assert.equal(metrics.value('engine_plans_open'), 1);
      if (fails !== undefined) throw new OperationError({ code: fails, message: 'told to' });
      return [];
    },
    usage: async () => ({ sessionsOpen: 3, residentBytes: 9, hits: 0, misses: 0, evictions: 0 }),
    close: async () => undefined,
  };
  const metered = await meteredEngine(engine, { metrics, clock: new VirtualClock() });
  const runs = (outcome: string): number =>
    metrics.value('engine_runs_total', { provider: 'cpu', outcome });

  await metered.run({ steps: [] });
  for (const [code, outcome] of [
    ['unavailable', 'died'],
    ['resource_exhausted', 'refused'],
    ['cancelled', 'cancelled'],
    ['internal', 'failed'],
  ] as const) {
    fails = code;
    await assert.rejects(metered.run({ steps: [] }), /told to/);
    assert.equal(runs(outcome), 1, outcome);
  }

  assert.equal(runs('ok'), 1);
  assert.equal(metrics.value('engine_provider_refused', { provider: 'cuda' }), 1);
  assert.equal(metrics.value('engine_plans_open'), 0);
  assert.equal(metrics.value('engine_sessions_open'), 3);
});
