import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { tensor } from '@heddle/tensor';
import { toF32 } from '../lorsa-weights.ts';
import { randomRows } from '../tiny-lorsa.ts';
import { buildTokenTops, foldedWrites, TokenEffects, TokenTops, tokenTopsFeeds } from './index.ts';

/** LN_f of a vector, then W_U: logits with the mean over the vocabulary taken away. */
function logits(write: number[], gain: number[], W_U: number[][], centre: boolean): number[] {
  const mean = centre ? write.reduce((a, b) => a + b, 0) / write.length : 0;
  const folded = write.map((value, d) => (value - mean) * gain[d]!);
  const all = W_U.map((row) => row.reduce((sum, value, d) => sum + value * folded[d]!, 0));
  const middle = all.reduce((a, b) => a + b, 0) / all.length;
  return all.map((value) => value - middle);
}

test('effects and the blocks of the vocabulary agree with a slow product, its mean taken away', () => {
  const rng = new Rng(4);
  const W_O = toF32(randomRows(rng, 5, 6));
  const rows = toF32(randomRows(rng, 23, 6));
  const gain = Array.from({ length: 6 }, () => 1 + 0.2 * rng.normal());
  const W_U = Array.from({ length: 23 }, (_, u) => [...rows.data.slice(u * 6, u * 6 + 6)]);

  for (const centre of [true, false]) {
    const directions = foldedWrites(W_O, { gain, centre });
    const effects = new TokenEffects({ directions, rows });
    const tops = new TokenTops(5, 4);
    for (const from of [0, 10, 20]) {
      const words = Math.min(10, 23 - from);
      const block = tensor('f32', [words, 6], rows.data.slice(from * 6, (from + words) * 6));
      tops.addBlock(from, words, interpretF32(tokenTopsFeeds(directions, block, 4)));
    }

    for (let i = 0; i < 5; i++) {
      const slow = logits([...W_O.data.slice(i * 6, i * 6 + 6)], gain, W_U, centre);
      slow.forEach((value, u) => {
        assert.ok(Math.abs(effects.effect(i, u) - value) < 1e-5);
      });
      const order = slow.map((_, u) => u).sort((a, b) => slow[b]! - slow[a]!);
      assert.deepEqual(
        tops.top(i).map(({ token }) => token),
        order.slice(0, 4),
      );
      assert.deepEqual(
        tops.bottom(i).map(({ token }) => token),
        order.reverse().slice(0, 4),
      );
      assert.ok(Math.abs(tops.top(i)[0]!.effect - slow[tops.top(i)[0]!.token]!) < 1e-5);
    }
  }
});

/** The interpreter answers in fp64; what reads the engine expects fp32. */
function interpretF32(feeds: ReturnType<typeof tokenTopsFeeds>) {
  const outputs = interpret(buildTokenTops(), feeds);
  return Object.fromEntries(
    Object.entries(outputs).map(([name, t]) => [
      name,
      tensor('f32', t.shape, Float32Array.from(t.data, Number)),
    ]),
  );
}

test('a percentile is the share of the other candidates that are lower, ties half', () => {
  const directions = tensor('f32', [1, 1], Float32Array.of(1));
  const rows = tensor('f32', [5, 1], Float32Array.of(3, 1, 2, 2, 9));
  const effects = new TokenEffects({ directions, rows });

  assert.equal(effects.percentile(0, 0, [0, 1, 2, 3]), 1);
  assert.equal(effects.percentile(0, 1, [0, 1, 2, 3]), 0);
  assert.equal(effects.percentile(0, 2, [0, 1, 2, 3]), 0.5);
  assert.equal(effects.percentile(0, 2, [2]), 0.5, 'nothing to compare with');
});
