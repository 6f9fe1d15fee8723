import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import {
  bestWriteScale,
  centrePreActivations,
  flipRarelyPositive,
  initialiseActiveSubspace,
} from './active-subspace.ts';
import { lorsaForward } from './forward.reference.ts';
import { zeroWeights } from './lorsa-weights.ts';
import { lorsaLoss, tokenWeights } from './loss.reference.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

test('every rank-one head reads and writes inside its host head’s circuit, at unit length', () => {
  const rng = new Rng(61);
  const host = {
    W_Q: randomRows(rng, 2, 6, 3),
    W_K: randomRows(rng, 1, 6, 3),
    W_V: randomRows(rng, 1, 6, 3), // grouped: both heads read through it
    W_O: randomRows(rng, 2, 3, 6),
  };
  const config = tinyLorsaConfig({ d_qk_head: 3 });
  const { W_V, W_O } = initialiseActiveSubspace(config, zeroWeights(config), host, rng);
  for (let i = 0; i < 8; i++) {
    const h = Math.floor(i / 4);
    const read = W_V.data.subarray(i * 6, i * 6 + 6);
    const write = W_O.data.subarray(i * 6, i * 6 + 6);
    assert.ok(Math.abs(Math.hypot(...read) - 1) < 1e-12);
    assert.ok(Math.abs(Math.hypot(...write) - 1) < 1e-12);
    // w_o ∥ w_v W_V W_O: the parallel part is everything.
    const through = Array.from({ length: 6 }, (_, d) =>
      [0, 1, 2].reduce((sum, c) => {
        const v = read.reduce((dot, r, m) => dot + r * host.W_V.data[m * 3 + c]!, 0);
        return sum + v * host.W_O.data[(h * 3 + c) * 6 + d]!;
      }, 0),
    );
    const cosine = write.reduce((dot, w, d) => dot + w * through[d]!, 0) / Math.hypot(...through);
    assert.ok(Math.abs(cosine - 1) < 1e-12, `head ${i}: ${cosine}`);
  }
  // Six rows of one group span only the three dimensions that the host head reads.
  const first = W_V.data.subarray(0, 24);
  assert.ok(gramDeterminant(first, 4) < 1e-12 && gramDeterminant(first, 3) > 1e-6);
});

/** Determinant of the Gram matrix of the first `count` rows of width 6: zero iff they depend on each other. */
function gramDeterminant(rows: Float64Array, count: number): number {
  const m = Array.from({ length: count }, (_, i) =>
    Array.from({ length: count }, (_, j) =>
      [0, 1, 2, 3, 4, 5].reduce((dot, d) => dot + rows[i * 6 + d]! * rows[j * 6 + d]!, 0),
    ),
  );
  let determinant = 1;
  for (let i = 0; i < count; i++) {
    determinant *= m[i]![i]!;
    for (let j = i + 1; j < count; j++) {
      const factor = m[j]![i]! / m[i]![i]!;
      for (let k = i; k < count; k++) m[j]![k]! -= factor * m[i]![k]!;
    }
  }
  return determinant;
}

test('centred heads have mean pre-activation 0 over the valid tokens, and nothing else moved', () => {
  const config = tinyLorsaConfig({ rotary: { dim: 2, base: 10, layout: 'half' } });
  const rng = new Rng(64);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 12, 6);
  const valid = Array.from({ length: 12 }, (_, t) => t > 0 && t !== 5);
  const pre = (w: typeof weights) => lorsaForward(config, w, x).preActivations;
  const before = pre(weights);
  const centred = centrePreActivations(weights, before, valid);
  const after = pre(centred);
  for (let i = 0; i < 8; i++) {
    const mean = (t: typeof before) =>
      valid.reduce((sum, v, at) => (v ? sum + t.data[at * 8 + i]! / 10 : sum), 0);
    assert.ok(Math.abs(mean(before)) > 1e-3 && Math.abs(mean(after)) < 1e-12);
    const spread = (t: typeof before) => t.data[3 * 8 + i]! - t.data[9 * 8 + i]!;
    assert.ok(Math.abs(spread(after) - spread(before)) < 1e-12);
  }
  assert.deepEqual({ ...centred, b_V: weights.b_V }, weights);
});

test('after the flip every head is positive on at least a fifth of the valid tokens', () => {
  const config = tinyLorsaConfig();
  const rng = new Rng(62);
  const weights = randomLorsa(config, rng);
  weights.b_V.data.fill(-2, 0, 4); // four heads that hardly ever fire
  const x = randomRows(rng, 12, 6);
  const valid = Array.from({ length: 12 }, (_, t) => t > 0);
  const share = (w: typeof weights, i: number) => {
    const pre = lorsaForward(config, w, x).preActivations.data;
    return valid.filter((v, t) => v && pre[t * 8 + i]! > 0).length / 11;
  };
  const before = lorsaForward(config, weights, x);
  const flipped = flipRarelyPositive(config, weights, before.preActivations, valid);
  const shares = (w: typeof weights) => Array.from({ length: 8 }, (_, i) => share(w, i));
  assert.ok(shares(weights).some((s) => s < 0.2));
  assert.ok(shares(flipped).every((s) => s >= 0.2));
});

test('no other scale of the write rows has a lower loss', () => {
  const config = tinyLorsaConfig();
  const rng = new Rng(63);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 12, 6);
  const y = lorsaForward(config, weights, x).reconstruction; // reachable, so the best scale is positive
  y.data.forEach((v, at) => {
    y.data[at] = 0.7 * v + 0.1 * rng.normal();
  });
  const valid = new Uint8Array(12).fill(1, 1);
  const lossAt = (s: number) => {
    const scaled = { ...weights.W_O, data: weights.W_O.data.map((v) => v * s) };
    const f = lorsaForward(config, { ...weights, W_O: scaled }, x);
    return lorsaLoss(y, f.reconstruction, tokenWeights(valid));
  };
  const { reconstruction } = lorsaForward(config, weights, x);
  const written = {
    ...reconstruction,
    data: reconstruction.data.map((v, at) => v - weights.b_D.data[at % 6]!),
  };
  const best = bestWriteScale(y, written, weights.b_D, valid);
  assert.ok(best > 0.1 && best < 5, `${best}`);
  for (const s of [0.1, 0.5 * best, 0.9 * best, 1.1 * best, 2 * best]) {
    assert.ok(lossAt(s) > lossAt(best), `${s}`);
  }
});
