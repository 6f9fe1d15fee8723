import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import { dot, type Matrix, maxAbs, multiply, pinv, rowOf } from '@heddle/linalg';
import { type Tensor, tensor } from '@heddle/tensor';
import {
  activationsFromHooks,
  FoldedUnembedding,
  HostRun,
  hooksOf,
  hostBytes,
  ProcessedHost,
  rotated,
  TINY_KINDS,
  TWIN_TOKENS_MAX,
  tinyForward,
  tinyHost,
} from './index.ts';

const TOKENS = [3, 1, 4, 1, 5, 9, 2, 6];

const near = (
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  tolerance: number,
  what: string,
): void => {
  assert.equal(a.length, b.length, what);
  const off = maxAbs(Float64Array.from(a, (value, i) => value - b[i]));
  assert.ok(off <= tolerance, `${what}: off by ${off}`);
};

const runs = TINY_KINDS.map((kind) => {
  const model = tinyHost(kind, 17);
  const activations = tinyForward(model, TOKENS);
  return { kind, model, activations, run: new HostRun(new ProcessedHost(model), activations) };
});

for (const { kind, model, activations, run } of runs) {
  test(`${kind}: the sources of the residual stream, each computed on its own, sum to it before every layer`, () => {
    for (let layer = 0; layer <= model.shape.n_layers; layer++) {
      for (const position of [0, 3, 7]) {
        const sum = new Float64Array(model.shape.d_model);
        for (const { vector } of run.sources(layer, position)) {
          vector.forEach((value, i) => {
            sum[i] += value;
          });
        }
        near(sum, run.residual(layer, position), 1e-12, `layer ${layer}, position ${position}`);
      }
    }
  });

  test(`${kind}: processing leaves scores as they were: reads of the residual give the scores of the raw forward pass`, () => {
    const n = TOKENS.length;
    for (let layer = 0; layer < model.shape.n_layers; layer++) {
      for (let head = 0; head < model.shape.n_heads; head++) {
        const reads = run.head(layer, head);
        for (let query = 0; query < n; query++) {
          const q = reads.query(query);
          const keys = reads.keys(query);
          const scores = Float64Array.from(
            { length: query + 1 },
            (_, s) => dot(q, rowOf(keys, s)) / reads.attnScale,
          );
          const at = (head * n + query) * n;
          const expected = activations.layers[layer].attn_scores?.data.slice(at, at + query + 1);
          near(scores, expected ?? [], 1e-12, `head ${layer}.${head} at ${query}`);
          reads.requireConsistent(scores, query);
        }
      }
    }
  });

  test(`${kind}: the folded unembedding of the final residual gives the logits of the raw forward pass`, () => {
    const unembedding = new FoldedUnembedding(run.host);
    for (const position of [0, 7]) {
      const scale = run.normScale(model.shape.n_layers)[position];
      const x = run.residual(model.shape.n_layers, position).map((value) => value / scale);
      const logits = unembedding.logits(x).map((value, t) => value + unembedding.b_U[t]);
      near(logits, rowOf(activations.logits as Matrix, position), 1e-12, `position ${position}`);
      assert.ok(
        Math.abs(dot(x, unembedding.direction(4)) + unembedding.b_U[4] - logits[4]) < 1e-12,
      );
      const g = Float64Array.from({ length: 11 }, (_, t) => Math.sin(t));
      assert.ok(Math.abs(dot(unembedding.pullBack(g), x) - dot(g, unembedding.logits(x))) < 1e-11);
    }
  });
}

test('LayerNorm hosts are centred: reads ignore a constant, what heads write has mean zero; RMSNorm hosts are not', () => {
  for (const { kind, model, run } of runs) {
    const { W_Q, W_O } = run.host.layer(1);
    const constant = maxAbs(
      multiply({ rows: 1, cols: 14, data: new Float64Array(14).fill(1) }, W_Q[0]).data,
    );
    const written = Math.abs(rowOf(W_O[0], 0).reduce((a, b) => a + b));
    if (model.shape.norm === 'layer') assert.ok(constant < 1e-14 && written < 1e-14, kind);
    else assert.ok(constant > 0.01 && written > 0.01, kind);
  }
});

test('rotations are orthogonal and depend on the difference of positions only, in both layouts', () => {
  const rng = new Rng(3);
  const vector = () => Float64Array.from({ length: 6 }, () => rng.normal());
  const [q, k] = [vector(), vector()];
  for (const layout of ['half_split', 'adjacent'] as const) {
    const rotary = { layout, dims: 4, amplitude: 1, frequencies: Float64Array.of(1, 0.3) };
    const at = (d: number, s: number) => dot(rotated(q, d, rotary), rotated(k, s, rotary));
    assert.ok(Math.abs(at(9, 4) - at(5, 0)) < 1e-12, layout);
    assert.ok(Math.abs(at(5, 5) - dot(q, k)) < 1e-12, layout);
    assert.ok(Math.abs(at(9, 4) - at(9, 3)) > 1e-3, layout);
    near(rotated(q, 7, rotary).slice(4), q.slice(4), 0, 'dimensions past the rotary ones pass');
    near(rotated(q, 0, rotary), q, 0, 'position 0 does not turn');
  }
  const turned = rotated(Float64Array.of(1, 0, 0, 0), 1, {
    layout: 'half_split',
    dims: 4,
    amplitude: 1,
    frequencies: Float64Array.of(1, 0.1),
  });
  near(turned, [Math.cos(1), 0, Math.sin(1), 0], 1e-15, 'half-split pairs i with i + n/2');
});

test('activations of another model are refused, not explained', () => {
  const { run } = runs[0];
  const foreign = new HostRun(new ProcessedHost(tinyHost('gpt2', 18)), run.activations);
  const reads = foreign.head(2, 1);
  const scores = Float64Array.from({ length: 6 }, (_, s) => dot(reads.query(5), reads.key(s)) / 2);
  assert.throws(
    () => reads.requireConsistent(scores, 5),
    (error: unknown) => {
      assert.ok(error instanceof OperationError && error.code === 'failed_precondition');
      assert.match(error.message, /head 2\.1 at position 5.*do not belong together/);
      return true;
    },
  );
});

test('a capture is taken from tensors by hook name, in fp32 or fp64, and refused by name when it is wrong', () => {
  const { model, activations } = runs[3];
  const scope = { layers: 2, scoresOf: 1, logits: true };
  const f32 = (data: Float64Array, shape: number[]): Tensor =>
    tensor('f32', shape, Float32Array.from(data));
  const values = new Map<string, Tensor>([['hook_embed', f32(activations.embed.data, [8, 14])]]);
  activations.layers.forEach((layer, i) => {
    values.set(`blocks.${i}.hook_resid_pre`, f32(layer.resid_pre.data, [8, 14]));
    values.set(`blocks.${i}.attn.hook_v`, layer.v);
    values.set(`blocks.${i}.attn.hook_pattern`, layer.pattern);
    values.set(`blocks.${i}.hook_mlp_out`, f32(layer.mlp_out.data, [8, 14]));
    if (layer.attn_scores) values.set(`blocks.${i}.attn.hook_attn_scores`, layer.attn_scores);
  });
  values.set('blocks.2.hook_resid_post', f32((activations.resid_final as Matrix).data, [8, 14]));
  values.set('logits', f32((activations.logits as Matrix).data, [8, 11]));
  const asked: string[] = [];
  const value = (hook: string): Tensor => {
    asked.push(hook);
    return values.get(hook) as Tensor;
  };
  const taken = activationsFromHooks(model.shape, scope, TOKENS, value);
  assert.deepEqual(asked.toSorted(), hooksOf(model.shape, scope).toSorted());
  assert.equal(taken.layers.length, 2);
  near(taken.layers[1].mlp_out.data, activations.layers[1].mlp_out.data, 1e-6, 'mlp_out');
  const poisoned = tensor('f64', [8, 14], new Float64Array(112).fill(Number.NaN, 30));
  values.set('blocks.1.hook_mlp_out', poisoned);
  assert.throws(
    () => activationsFromHooks(model.shape, scope, TOKENS, value),
    /blocks\.1\.hook_mlp_out holds NaN at element 30/,
  );
  values.set('blocks.1.hook_mlp_out', tensor('f64', [8, 13], new Float64Array(104)));
  assert.throws(() => activationsFromHooks(model.shape, scope, TOKENS, value), /8 × 13/);
});

test('a prompt past the limit of the slow twins is RESOURCE_EXHAUSTED with the limit, before any value is read', () => {
  const tokens = Array.from({ length: TWIN_TOKENS_MAX + 1 }, () => 1);
  assert.throws(
    () => activationsFromHooks(runs[0].model.shape, { layers: 1 }, tokens, () => assert.fail()),
    (error: unknown) =>
      error instanceof OperationError &&
      error.code === 'resource_exhausted' &&
      error.details['limit'] === TWIN_TOKENS_MAX,
  );
});

test('W W⁺ W = W for the reading weights of every head', () => {
  for (const { run, kind } of runs) {
    for (const W of run.host.layer(2).W_Q) {
      near(multiply(multiply(W, pinv(W)), W).data, W.data, 1e-13, kind);
    }
  }
});

test('the memory that admission counts is what the processed weights take', () => {
  for (const { kind, model } of runs) {
    const host = new ProcessedHost(model);
    const { n_layers, n_heads, n_key_value_heads, d_model, d_head } = host.shape;
    let held = 0;
    for (let layer = 0; layer < n_layers; layer++) {
      const { W_Q, W_K, W_O } = host.layer(layer);
      for (const { data } of [...W_Q, ...W_K, ...W_O]) held += data.byteLength;
    }
    const stored = 8 * 2 * d_model * d_head * (n_heads + n_key_value_heads);
    const estimate = hostBytes(host.shape, { layers: n_layers, logits: false });
    assert.equal(estimate, held + stored, kind);
  }
});
