import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dot, type Matrix, rowOf } from '@heddle/linalg';
import { tensor } from '@heddle/tensor';
import {
  HostRun,
  ProcessedHost,
  TINY_KINDS,
  type TinyHost,
  tinyForward,
  tinyHost,
} from '../host/index.ts';
import { sumOf, termName, whyLogit, whyScore } from './index.ts';

const TOKENS = [7, 0, 2, 10, 2, 5, 8];
const hosts = TINY_KINDS.map((kind) => ({ kind, model: tinyHost(kind, 31) }));
const runOf = (model: TinyHost): HostRun =>
  new HostRun(new ProcessedHost(model), tinyForward(model, TOKENS));
const close = (a: number, b: number, tolerance: number, what: string): void =>
  assert.ok(Math.abs(a - b) <= tolerance, `${what}: ${a} against ${b}`);

for (const { kind, model } of hosts) {
  const run = runOf(model);

  test(`${kind}: a score is the sum of its query-side sources, of its key-side sources, and of their pairs`, () => {
    for (const [layer, head, query, key] of [
      [2, 3, 6, 2],
      [1, 0, 4, 4],
      [0, 2, 5, 0],
    ]) {
      const why = whyScore(run, { layer, head, query, key });
      for (const check of [why.sides.query.check, why.sides.key.check, why.pairs?.check]) {
        assert.ok(check !== undefined);
        close(check.sum, check.value, 1e-11, `${layer}.${head}`);
        assert.ok(check.holds);
      }
      const { strongest = [], restSum = 0, check } = why.pairs ?? {};
      const listed = strongest.reduce((sum, { contribution }) => sum + contribution, 0);
      close(listed + restSum, check?.sum ?? 0, 1e-11, 'listed pairs and the rest');
      const heads = why.sides.query.terms.filter((term) => term.kind === 'head');
      assert.equal(
        heads.length,
        layer * 4 * (query + 1),
        'every head by every position it can read',
      );
    }
  });

  test(`${kind}: without a key the strongest one is explained, and terms come strongest first`, () => {
    const n = TOKENS.length;
    const why = whyScore(run, { layer: 2, head: 1, query: 6, key: null });
    const at = (1 * n + 6) * n;
    const scores = run.layer(2).attn_scores?.data.slice(at, at + n) ?? [];
    assert.equal(why.sides.query.check.value, Math.max(...scores));
    assert.equal(why.attention, run.pattern(2, 1, 6, why.key));
    const sizes = why.sides.key.terms.map(({ contribution }) => Math.abs(contribution));
    assert.deepEqual(
      sizes,
      sizes.toSorted((a, b) => b - a),
    );
  });

  test(`${kind}: a logit is the sum of its sources`, () => {
    for (const token of [0, 4, null]) {
      const why = whyLogit(run, { token, position: 5 });
      const logits = rowOf(run.activations.logits as Matrix, 5);
      if (token === null) assert.equal(logits[why.token], Math.max(...logits));
      close(why.check.sum, logits[why.token], 1e-11, `token ${token}`);
      assert.ok(why.check.holds);
    }
  });

  test(`${kind}: a term foretells what taking its source away does to the score at frozen scales`, () => {
    const [layer, head, query, key] = [2, 2, 6, 3];
    const { sides } = whyScore(run, { layer, head, query, key });
    const reads = run.head(layer, head);
    for (const source of run.sources(layer, query).filter((_, i) => i % 7 === 0)) {
      const term = sides.query.terms.find(
        (t) =>
          t.kind === source.kind &&
          t.layer === source.layer &&
          t.head === source.head &&
          t.position === source.source,
      );
      const without = run.residual(layer, query).map((value, i) => value - source.vector[i]);
      const bias = reads.queryBias(query);
      const q = reads.toQuery(without, query).map((value, i) => value + bias[i]);
      const left = dot(q, reads.key(key)) / reads.attnScale;
      close(sides.query.check.value - left, term?.contribution ?? Number.NaN, 1e-11, source.kind);
    }
  });
}

test('a term that is lost or counted twice breaks the sum: the check is no tautology', () => {
  const run = runOf(hosts[0].model);
  const { terms, check } = whyScore(run, { layer: 2, head: 0, query: 6, key: 1 }).sides.query;
  const numbers = terms.map(({ contribution }) => contribution);
  assert.ok(sumOf(numbers, check.value).holds);
  assert.equal(sumOf(numbers.slice(1), check.value).holds, false);
  assert.equal(sumOf([...numbers, numbers[0]], check.value).holds, false);
});

test('a captured score that the weights do not give is seen in the residual', () => {
  const model = hosts[3].model;
  const activations = tinyForward(model, TOKENS);
  const scores = activations.layers[1].attn_scores?.data.map((value) => value * 1.01);
  const layers = activations.layers.with(1, {
    ...activations.layers[1],
    attn_scores: tensor('f64', [4, 7, 7], scores ?? new Float64Array(0)),
  });
  const run = new HostRun(new ProcessedHost(model), { ...activations, layers });
  const why = whyScore(run, { layer: 1, head: 0, query: 6, key: 2 });
  assert.equal(why.sides.query.check.holds, false);
  assert.equal(why.sides.key.check.holds, false);
});

test('questions outside of the model or the prompt are refused by field, with the limit', () => {
  const run = runOf(hosts[0].model);
  const ask = (over: object) => () =>
    whyScore(run, { layer: 1, head: 1, query: 3, key: 2, ...over });
  assert.throws(ask({ layer: 3 }), { field: 'score.layer' });
  assert.throws(ask({ head: 4 }), { field: 'score.head' });
  assert.throws(ask({ query: 7 }), { field: 'score.query' });
  assert.throws(ask({ key: 4 }), { field: 'score.key' });
  assert.throws(() => whyLogit(run, { token: 11, position: 0 }), /token 11 is outside/);
  assert.throws(() => whyLogit(run, { token: 1, position: 7 }), { field: 'logit.position' });
});

test('terms have names that a table can show', () => {
  const at = { layer: 3, head: null, position: 0 };
  const named = (kind: Parameters<typeof termName>[0]['kind'], head: number | null = null) =>
    termName({ ...at, kind, head });
  assert.equal(named('head', 5), '3.5');
  assert.equal(named('mlp'), 'mlp 3');
  assert.equal(named('attn_bias'), 'bias 3');
  assert.equal(named('token_embedding'), 'embedding');
  assert.equal(named('position_embedding'), 'position embedding');
  assert.equal(named('query_bias'), 'query bias');
});
