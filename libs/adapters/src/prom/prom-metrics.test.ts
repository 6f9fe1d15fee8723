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

test('a counter of few series stands at 0 before the first event, so that its first increase is one', async () => {
  const metrics = new PromMetrics();
  metrics.register([RUNS, { ...RUNS, name: 'activation_bytes_total', labels: MANY }]);

  const text = await metrics.text();
  assert.match(text, /^activation_runs_total\{outcome="failed"\} 0$/m);
  assert.doesNotMatch(text, /^activation_bytes_total\{/m);
});

test('a histogram of few series stands at 0 before the first observation', async () => {
  const metrics = new PromMetrics();
  metrics.register([{ ...RUNS, name: 'activation_run_seconds', kind: 'histogram', buckets: [1] }]);

  const text = await metrics.text();
  assert.match(text, /^activation_run_seconds_count\{outcome="failed"\} 0$/m);
  assert.match(text, /^activation_run_seconds_bucket\{le="1",outcome="ok"\} 0$/m);
});

const MANY = { outcome: Array.from({ length: 101 }, (_, index) => `${index}`) };

test('what is read at a scrape is as of that scrape', async () => {
  const metrics = new PromMetrics();
  const { labels: _, ...rest } = RUNS;
  metrics.register([{ ...rest, name: 'activation_waiting', kind: 'gauge' }]);
  let waiting = 1;
  metrics.onScrape(() => metrics.set('activation_waiting', waiting));

  assert.match(await metrics.text(), /^activation_waiting 1$/m);
  waiting = 2;
  assert.match(await metrics.text(), /^activation_waiting 2$/m);
});
