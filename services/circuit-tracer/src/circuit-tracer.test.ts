import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobKind } from '@heddle/actor';
import type { HostAccess } from '@heddle/client';
import type { Json } from '@heddle/core';
import { ioiDataset } from '@heddle/interp/tasks';
import type { StartTraceRequest } from '@heddle/ports/proto/circuit';
import { CountingMetrics } from '@heddle/testkit';
import { graphSummary } from './compute.ts';
import { TASKS_MAX } from './limits.ts';
import { traceKind } from './trace-kind.ts';
import { checkedTrace, traceItems } from './trace-request.ts';

const request = (changes: Partial<StartTraceRequest>): StartTraceRequest => ({
  model: '',
  prompts: [],
  dataset: null,
  options: null,
  targets: [],
  versus: [],
  method: 'TRACE_METHOD_UNSPECIFIED',
  objective: 'OBJECTIVE_UNSPECIFIED',
  validate: false,
  client_key: '',
  ...changes,
});
const prompts = [{ id: '', text: 'a b' }];

test('defaults: ACC++, probability, dynamic threshold, the last position', () => {
  const { method, objective, threshold, position } = checkedTrace(request({ prompts }));
  assert.deepEqual([method, objective, threshold, position], ['accpp', 'probability', null, null]);
});

test('what is wrong before the model is known is refused by field', () => {
  const refused = (changes: Partial<StartTraceRequest>, field: string) =>
    assert.throws(() => checkedTrace(request(changes)), { field });
  refused({}, 'prompts');
  refused({ prompts, dataset: { name: 'ioi', count: 1, seed: 0 } }, 'dataset');
  refused({ dataset: { name: 'greater-than', count: 1, seed: 0 } }, 'dataset.name');
  refused({ dataset: { name: 'ioi', count: 0, seed: 0 } }, 'dataset.count');
  refused({ dataset: { name: 'ioi', count: 10_001, seed: 0 } }, 'dataset.count');
  refused({ prompts, threshold: 0 }, 'threshold');
  refused({ prompts, threshold: Number.NaN }, 'threshold');
  refused({ prompts, targets: [{}] }, 'targets[0]');
  refused({ prompts, versus: Array.from({ length: 65 }, () => ({ id: 1 })) }, 'versus');
  refused({ prompts: [{ id: '', tokens: { ids: new Array(65).fill(1) } }] }, 'prompts[0]');
  const sad = { prompts, validate: true, method: 'TRACE_METHOD_SAD' as const };
  assert.throws(() => checkedTrace(request(sad)), { code: 'unimplemented' });
  assert.equal(checkedTrace(request({ prompts, validate: true })).validate, true);
});

test('the IOI data set brings its answers; the logit objective compares with the subject; own targets win', () => {
  const dataset = { name: 'ioi', count: 7, seed: 3 };
  const [, second] = ioiDataset(7, 3);
  const items = (changes: Partial<StartTraceRequest>) =>
    traceItems(checkedTrace(request({ dataset, ...changes })), 1, 3);
  const probability = items({});
  assert.equal(probability.length, 2);
  assert.deepEqual(probability[0], {
    prompt: { text: second?.prompt },
    targets: [{ text: ` ${second?.io}` }],
    versus: [],
  });
  assert.deepEqual(items({ objective: 'OBJECTIVE_LOGIT' })[0]?.versus, [{ text: ` ${second?.s}` }]);
  assert.deepEqual(items({ targets: [{ id: 5 }] })[0]?.targets, [{ id: 5 }]);
});

test('prompts are cut into tasks that cover each once, in order, and never too many', () => {
  const kind: JobKind = traceKind({
    hosts: {} as HostAccess,
    metrics: new CountingMetrics(),
    versions: {},
  });
  for (const count of [1, 2, TASKS_MAX, TASKS_MAX + 1, 10_000]) {
    const checked = checkedTrace(request({ dataset: { name: 'ioi', count, seed: 0 } }));
    const tasks = kind.split(checked as Json) as { input: { from: number; to: number } }[];
    assert.ok(tasks.length <= TASKS_MAX);
    let next = 0;
    for (const { input } of tasks) {
      assert.equal(input.from, next);
      assert.ok(input.to > input.from);
      next = input.to;
    }
    assert.equal(next, count);
  }
});

test('a summary counts nodes and edges and shows the strongest, negative ones too', () => {
  const edge = (weight: number) => ({
    from: 'a',
    to: 'root',
    side: 'seed',
    weight,
    singular_vectors: [],
  });
  const summary = graphSummary({
    prompt: 0,
    tokens: [1],
    method: 'accpp',
    objective: 'logit',
    position: 0,
    targets: [4],
    versus: [],
    value: 1,
    sum: 1,
    residual: 0,
    terms_abs_sum: 1,
    unexplained: [],
    nodes: [{ id: 'a' }, { id: 'root' }],
    edges: [edge(0.1), edge(-3), edge(2)],
  });
  assert.equal(summary.nodes, 2);
  assert.equal(summary.edges, 3);
  assert.equal(summary.target, 4);
  assert.deepEqual(
    summary.strongest.map(({ weight }) => weight),
    [-3, 2, 0.1],
  );
});
