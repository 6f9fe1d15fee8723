import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { readLorsaCheckpoint, readSafetensors } from '@heddle/formats';
import {
  applyLorsa,
  initialiseLevelA,
  type LorsaLayer,
  layerFromCheckpoint,
  mapWeights,
  toF32,
} from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import { apply } from './apply.ts';
import { applyOnEngine, headsAtOnce } from './apply-on-engine.ts';

const GOLDEN = fileURLToPath(new URL('../../../../test/golden/lorsa/', import.meta.url));
const engine = await OrtEngine.start({ threads: 1 });
after(() => engine.close());
const on = { engine, signal: new AbortController().signal, breathe: async () => undefined };

const apart = (a: Tensor, b: Tensor): number => {
  assert.deepEqual(a.shape, b.shape);
  return Array.from(a.data as Float64Array).reduce((most, value, at) => {
    return Math.max(most, Math.abs(value - Number(b.data[at])));
  }, 0);
};
const active = (t: Tensor) => Array.from(t.data as Float64Array, (z) => z !== 0);

const variants = readdirSync(GOLDEN, { withFileTypes: true }).filter((e) => e.isDirectory());
for (const { name } of variants) {
  test(`${name}: the engine gives the twin's numbers to 1e-12 and the same active set, also head by head`, async () => {
    const open = (file: string) => readFileSync(`${GOLDEN}${name}/${file}`);
    const weights = readSafetensors('w', open('sae_weights.safetensors'));
    const layer = layerFromCheckpoint(readLorsaCheckpoint(`${open('config.json')}`, weights));
    const values = readSafetensors('values', open('values.safetensors'));
    const double = (key: string) => {
      const { shape, data } = values.tensor(key);
      return tensor('f64', shape, Float64Array.from(data as Float32Array));
    };
    const [x, y] = [double('x'), double('y')];
    const twin = applyLorsa(layer, x, y);
    const wanted = { pattern: true, values: true };

    for (const headsMax of [undefined, 1]) {
      const found = await applyOnEngine({ ...on, headsMax }, layer, { x, y, wanted });
      for (const key of ['featureActs', 'reconstruction', 'pattern', 'values'] as const) {
        assert.ok(apart(found[key], twin[key]) < 1e-12, `${key} with ${headsMax ?? 'all'} heads`);
      }
      assert.deepEqual(active(found.featureActs), active(twin.featureActs));
    }
  });
}

/** As published layers are: 8192 rank-one heads on 128 shared ones, d_model 768. */
function published(): LorsaLayer {
  const config = {
    d_model: 768,
    n_ov_heads: 8192,
    n_qk_heads: 128,
    d_qk_head: 64,
    n_ctx: 256,
    activation: 'topk' as const,
    topK: 64,
    signed: false,
    decoderNormInGate: true,
    useDecoderBias: true,
    attnScale: 8,
    rotary: { dim: 16, base: 10_000, layout: 'half' as const },
    qkNormEps: undefined,
  };
  return {
    config,
    weights: mapWeights(initialiseLevelA(config, new Rng(3)), toF32),
    hookIn: 'blocks.0.ln1.hook_normalized',
    hookOut: 'blocks.0.hook_attn_out',
    normalisation: 'dataset-wise',
    norms: { input: 20, output: 5 },
  };
}

test('a layer of the published size takes 256 tokens, and the first of them are what the twin says', async (t) => {
  const layer = published();
  const rng = new Rng(4);
  const rows = (pos: number) => tensor('f32', [pos, 768], new Float32Array(pos * 768));
  const input = rows(256);
  for (let at = 0; at < input.data.length; at++) input.data[at] = rng.normal();
  assert.ok(headsAtOnce(layer.config, 1, 256) < 128, 'in several pieces');

  const startedMs = performance.now();
  const { tensors, l0 } = await apply({ layer, input, zPattern: false, pattern: false }, on);
  t.diagnostic(`256 tokens in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);

  // A causal layer: what follows a token does not move it, so that the twin needs only the first few.
  const few = tensor('f64', [1, 6, 768], Float64Array.from(input.data.subarray(0, 6 * 768)));
  const twin = applyLorsa(layer, few);
  const [acts, reconstruction] = tensors.map(({ tensor: all }) => all);
  assert.ok(acts && reconstruction);
  const first = acts.data.subarray(0, 6 * 8192);
  assert.deepEqual(
    Array.from(first, (z) => z !== 0),
    active(twin.featureActs),
  );
  const cut = (data: Float32Array, like: Tensor) =>
    tensor('f32', like.shape, data.slice(0, like.data.length));
  assert.ok(apart(twin.featureActs, cut(acts.data, twin.featureActs)) < 2e-5);
  assert.ok(apart(twin.reconstruction, cut(reconstruction.data, twin.reconstruction)) < 2e-5);
  assert.equal(l0, 64);
});

test('a cancel is heard between the pieces', async () => {
  const layer = published();
  const input = tensor('f32', [64, 768], new Float32Array(64 * 768).fill(1));
  const aborter = new AbortController();
  let breaths = 0;
  const stopping = {
    ...on,
    signal: aborter.signal,
    breathe: async () => {
      breaths++;
      aborter.abort(new Error('enough'));
    },
  };
  await assert.rejects(apply({ layer, input, zPattern: false, pattern: false }, stopping), {
    code: 'cancelled',
  });
  assert.equal(breaths, 1);
});
