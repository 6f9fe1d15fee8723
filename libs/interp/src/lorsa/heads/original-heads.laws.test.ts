import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { tensor } from '@heddle/tensor';
import { lorsaForward } from '../forward.reference.ts';
import type { HostAttention } from '../initialise.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import { toF32, zeroWeights } from '../lorsa-weights.ts';
import { rotaryTable, rotate } from '../rotary.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from '../tiny-lorsa.ts';
import {
  buildHostHeads,
  type HostHeads,
  hostHeadsFeeds,
  OriginalHeads,
  referenceSequence,
} from './index.ts';

test('shares are mean positive projections of what each host head writes, as slow loops over o say', () => {
  const rng = new Rng(3);
  const config = tinyLorsaConfig();
  const weights = randomLorsa(config, rng);
  const hostW_O = randomRows(rng, 3, 4, 6);
  const x = randomRows(rng, 11, 6);
  const z = randomRows(rng, 11, 12);
  const ones = new Uint8Array(11).fill(1);
  const sequence = referenceSequence(config, weights, { x, tokens: ones, valid: ones, index: 0 });

  const originals = new OriginalHeads({ hostW_O, W_O: weights.W_O });
  originals.add(sequence, z.data);

  const { featureActs } = lorsaForward(config, weights, x);
  for (let i = 0; i < 8; i++) {
    const w = weights.W_O.data.slice(i * 6, i * 6 + 6);
    const sums = [0, 1, 2].map((h) => {
      let sum = 0;
      for (let t = 0; t < 11; t++) {
        if (featureActs.data[t * 8 + i] === 0) continue;
        const o = Float64Array.from({ length: 6 }, (_, d) => {
          let value = 0;
          for (let c = 0; c < 4; c++)
            value += z.data[t * 12 + h * 4 + c]! * hostW_O.data[(h * 4 + c) * 6 + d]!;
          return value;
        });
        sum += Math.max(0, o.reduce((dot, value, d) => dot + value * w[d]!, 0) / Math.hypot(...w));
      }
      return sum;
    });
    const total = sums.reduce((a, b) => a + b, 0);
    const { shares, participationRatio } = originals.of(i);
    sums.forEach((sum, h) => {
      assert.ok(Math.abs(shares[h]! - (total > 0 ? sum / total : 0)) < 1e-6);
    });
    if (total === 0) continue;
    const expected = total ** 2 / sums.reduce((s, v) => s + v * v, 0);
    assert.ok(Math.abs(participationRatio - expected) < 1e-5);
  }
});

test('a unit cut out of one host head comes from that head alone; one mixed of two comes from two', () => {
  // Two host heads of one dimension that write along different axes; z is 1 for both.
  const hostW_O = tensor('f64', [2, 1, 2], Float64Array.of(1, 0, 0, 1));
  const W_O = tensor('f64', [3, 2], Float64Array.of(3, 0, 2, 2, -1, -1));
  const originals = new OriginalHeads({ hostW_O, W_O });
  const heads = [0, 1, 2];
  originals.add(
    { index: 0, tokens: [5], valid: [1], slots: 3, winners: heads, acts: [1, 1, 1] },
    [1, 1],
  );

  assert.deepEqual([...originals.of(0).shares], [1, 0]);
  assert.equal(originals.of(0).participationRatio, 1);
  assert.equal(originals.of(0).spread, false);
  assert.ok(Math.abs(originals.of(1).participationRatio - 2) < 1e-6);
  assert.equal(originals.of(1).spread, true);
  assert.equal(originals.of(2).headsFor80, 0, 'both write against it');
  const { heads: counted, one, two, spread } = originals.distribution();
  assert.deepEqual([counted, one, two, spread], [2, 0.5, 0.5, 0.5]);

  const resumed = new OriginalHeads({ hostW_O, W_O });
  resumed.restore(originals.encode());
  assert.deepEqual(resumed.of(1), originals.of(1));
});

const HOSTS: readonly (readonly [string, Partial<HostHeads> & { readonly groups?: number }])[] = [
  ['learned positions, biases', {}],
  ['rotary, grouped queries', { rotary: { dim: 4, base: 50, layout: 'half' }, groups: 2 }],
  ['query-key norm', { qkNormEps: 1e-6, groups: 4 }],
];

for (const [name, { groups = 1, ...changes }] of HOSTS) {
  test(`${name}: the graph gives the z of the host's own heads`, () => {
    const rng = new Rng(8);
    const host: HostHeads = {
      n_heads: 4,
      d_head: 4,
      d_model: 6,
      n_ctx: 16,
      attnScale: 2,
      rotary: undefined,
      qkNormEps: undefined,
      ...changes,
    };
    const kv = 4 / groups;
    const attention: HostAttention = {
      W_Q: toF32(randomRows(rng, 4, 6, 4)),
      W_K: toF32(randomRows(rng, kv, 6, 4)),
      W_V: toF32(randomRows(rng, kv, 6, 4)),
      W_O: toF32(randomRows(rng, 4, 4, 6)),
      b_Q: toF32(randomRows(rng, 4, 4)),
      b_K: toF32(randomRows(rng, kv, 4)),
      b_V: toF32(randomRows(rng, kv, 4)),
      ...(host.qkNormEps === undefined
        ? {}
        : { q_norm: toF32(randomRows(rng, 4)), k_norm: toF32(randomRows(rng, 4)) }),
    };
    const x = toF32(randomRows(rng, 1, 5, 6));

    const { z } = interpret(buildHostHeads(host), hostHeadsFeeds(host, attention, x));

    const expected = slowHeads(host, attention, x.data, groups);
    assert.deepEqual(z!.shape, [5, 16]);
    expected.forEach((value, at) => {
      assert.ok(Math.abs(value - Number(z!.data[at])) < 1e-5, `${at}`);
    });
  });
}

/** z of plain multi-head attention, from its definition. */
function slowHeads(
  host: HostHeads,
  a: HostAttention,
  x: Float32Array,
  groups: number,
): Float64Array {
  const { d_head, d_model, n_heads } = host;
  const pos = x.length / d_model;
  const out = new Float64Array(pos * n_heads * d_head);
  const table = host.rotary && rotaryTable(host.rotary, pos);
  for (let h = 0; h < n_heads; h++) {
    const kv = Math.floor(h / groups);
    const project = (W: HostAttention['W_Q'], b: HostAttention['b_Q'], head: number) =>
      Float64Array.from({ length: pos * d_head }, (_, at) => {
        const [t, c] = [Math.floor(at / d_head), at % d_head];
        let sum = b!.data[head * d_head + c]!;
        for (let d = 0; d < d_model; d++)
          sum += x[t * d_model + d]! * W.data[(head * d_model + d) * d_head + c]!;
        return sum;
      });
    const placed = (rows: Float64Array, gain: HostAttention['q_norm']) => {
      if (host.qkNormEps !== undefined) {
        for (let t = 0; t < pos; t++) {
          const row = rows.subarray(t * d_head, (t + 1) * d_head);
          const rms = Math.sqrt(row.reduce((s, v) => s + v * v, 0) / d_head + host.qkNormEps);
          row.forEach((v, c) => {
            row[c] = (v / rms) * gain!.data[c]!;
          });
        }
      }
      return host.rotary && table ? rotate(host.rotary, table, rows, d_head) : rows;
    };
    const q = placed(project(a.W_Q, a.b_Q, h), a.q_norm);
    const k = placed(project(a.W_K, a.b_K, kv), a.k_norm);
    const v = project(a.W_V, a.b_V, kv);
    for (let t = 0; t < pos; t++) {
      const scores = Array.from({ length: t + 1 }, (_, s) => {
        let dot = 0;
        for (let c = 0; c < d_head; c++) dot += q[t * d_head + c]! * k[s * d_head + c]!;
        return Math.exp(dot / host.attnScale);
      });
      const total = scores.reduce((x1, x2) => x1 + x2, 0);
      scores.forEach((score, s) => {
        for (let c = 0; c < d_head; c++) {
          out[(t * n_heads + h) * d_head + c]! += (score / total) * v[s * d_head + c]!;
        }
      });
    }
  }
  return out;
}

test('the units of the exactness construction come each from its own host head', () => {
  const config: LorsaConfig = tinyLorsaConfig({
    d_model: 4,
    n_ov_heads: 4,
    n_qk_heads: 2,
    topK: 4,
  });
  const weights = zeroWeights(config);
  for (let i = 0; i < 4; i++) weights.W_O.data[i * 4 + i] = 1;
  const hostW_O = tensor(
    'f64',
    [2, 2, 4],
    Float64Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1),
  );
  const originals = new OriginalHeads({ hostW_O, W_O: weights.W_O });
  originals.add(
    { index: 0, tokens: [1], valid: [1], slots: 4, winners: [0, 1, 2, 3], acts: [1, 1, 1, 1] },
    [0.5, 2, 1, 3],
  );

  for (let i = 0; i < 4; i++) {
    assert.deepEqual([...originals.of(i).shares], i < 2 ? [1, 0] : [0, 1]);
  }
});
