import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PromMetrics } from './prom-metrics.ts';

const RUNS = {
  name: 'activation_runs_total',
  kind: 'counter',
  unit: 'runs',
  help: 'Runs, by outcome.',
  labels: { outcome: ['ok', 'failed'] },
} as const;

test('what was counted stands in the exposition, with its help and labels', async () => {
  const metrics = new PromMetrics();
  metrics.register([RUNS]);

  metrics.add('activation_runs_total', 2, { outcome: 'ok' });

  const text = await metrics.text();
  assert.match(text, /# HELP activation_runs_total Runs, by outcome\./);
  assert.match(text, /^activation_runs_total\{outcome="ok"\} 2$/m);
  assert.match(text, /^nodejs_eventloop_lag_seconds/m);
});

test('a name or a label outside of the catalogue is a programmer error', () => {
  const metrics = new PromMetrics();
  metrics.register([RUNS]);

  assert.throws(() => metrics.add('unheard_of_total', 1), /unheard_of_total is missing/);
  assert.throws(() => metrics.add(RUNS.name, 1, { outcome: 'maybe' }), /not in its catalogue/);
  assert.throws(() => metrics.observe(RUNS.name, 1, { outcome: 'ok' }), /is no histogram/);
});

test('two catalogues cannot claim one name', () => {
  const metrics = new PromMetrics();
  metrics.register([RUNS]);

  assert.throws(() => metrics.register([{ ...RUNS, help: 'other' }]), /two catalogues/);
  metrics.register([RUNS]);
});
