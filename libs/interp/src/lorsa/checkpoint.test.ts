import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import { readLorsaCheckpoint, readSafetensors, writeLorsaCheckpoint } from '@heddle/formats';
import { applyLorsa, zPatterns } from './apply.reference.ts';
import {
  type LorsaLayer,
  layerFromCheckpoint,
  layerToCheckpoint,
  type Normalisation,
  ownCheckpoint,
} from './checkpoint.ts';
import { lorsaForward } from './forward.reference.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, mapWeights, toF32 } from './lorsa-weights.ts';
import { foldNormalisation, scaleFactors } from './normalisation.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

const scaling = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, oldContextLength: 8 };

function tinyLayer(
  changes: Partial<LorsaConfig> = {},
  extra: Partial<LorsaLayer> = {},
): LorsaLayer {
  const config = tinyLorsaConfig(changes);
  const random: LorsaWeights = mapWeights(randomLorsa(config, new Rng(31)), toF32);
  const logThreshold = { ...random.b_V, data: random.b_V.data.map((v) => v / 4) };
  return {
    config,
    weights: config.activation === 'jumprelu' ? { ...random, logThreshold } : random,
    hookIn: 'blocks.0.ln1.hook_normalized',
    hookOut: 'blocks.0.hook_attn_out',
    normalisation: 'inference',
    ...extra,
  };
}

function roundTrip(layer: LorsaLayer): LorsaLayer {
  const { configText, weights } = writeLorsaCheckpoint(layerToCheckpoint(layer));
  return layerFromCheckpoint(readLorsaCheckpoint(configText, readSafetensors('x', weights)));
}

test('a layer of every kind survives the published format to the bit', () => {
  const layers = [
    tinyLayer({ rotary: { dim: 4, base: 500, layout: 'half', scaling } }),
    tinyLayer({ rotary: { dim: 2, base: 100, layout: 'adjacent' }, qkNormEps: 1e-5 }),
    tinyLayer({ activation: 'jumprelu', decoderNormInGate: false }),
    tinyLayer({ activation: 'batchtopk' }, { normalisation: 'token-wise' }),
    tinyLayer({}, { normalisation: 'dataset-wise', norms: { input: 0.5, output: 4 } }),
  ];
  for (const layer of layers) {
    const read = roundTrip(layer);
    assert.deepEqual(
      { ...read, weights: { ...read.weights } },
      {
        norms: undefined,
        ...layer,
        config: read.config, // compared below: an absent scaling reads as undefined
      },
    );
    assert.deepEqual(JSON.stringify(read.config), JSON.stringify(layer.config));
  }
  const noBias = tinyLayer({ useDecoderBias: false });
  assert.ok(roundTrip(noBias).weights.b_D.data.every((v) => v === 0));
});

test('a signed layer is kept under a name of ours, and refused as a published one', () => {
  const layer = tinyLayer({ signed: true });
  assert.throws(
    () => layerToCheckpoint(layer),
    (e: OperationError) => e.code === 'failed_precondition' && /signed/.test(e.message),
  );
  const { configText, weights } = writeLorsaCheckpoint(ownCheckpoint(layer));
  const read = layerFromCheckpoint(readLorsaCheckpoint(configText, readSafetensors('x', weights)));
  assert.deepEqual(read.config, { ...layer.config, rotary: undefined });
  // The reference knows these four and refuses any other.
  assert.ok(!['relu', 'jumprelu', 'topk', 'batchtopk'].includes(JSON.parse(configText).act_fn));
});

test('rotary tables that do not fit the config are refused', () => {
  const parts = layerToCheckpoint(tinyLayer({ rotary: { dim: 4, base: 100, layout: 'half' } }));
  const config = { ...parts.config, rotary_base: 10000 };
  const { configText, weights } = writeLorsaCheckpoint({ ...parts, config });
  const read = readLorsaCheckpoint(configText, readSafetensors('x', weights));
  assert.throws(
    () => layerFromCheckpoint(read),
    (error: OperationError) => error.code === 'invalid_argument' && error.field === 'rotary_cos',
  );
});

test('dataset-wise and its folded form give the same reconstruction in the host’s units', () => {
  const norms = { input: 0.7, output: 5 };
  const layer = tinyLayer({}, { normalisation: 'dataset-wise', norms });
  const x = randomRows(new Rng(32), 2, 7, 6);
  const folded: LorsaLayer = {
    ...layer,
    weights: foldNormalisation(layer.weights, scaleFactors(6, norms)),
    normalisation: 'inference',
    norms: undefined,
  };
  const a = applyLorsa(layer, x).reconstruction.data;
  const b = applyLorsa(folded, x).reconstruction.data;
  a.forEach((value, at) => {
    assert.ok(Math.abs(value - b[at]!) < 1e-11);
  });
});

test('one sequence under inference is the plain forward, and z-patterns sum to z where active', () => {
  const layer = tinyLayer({ qkNormEps: 1e-6 });
  const x = randomRows(new Rng(33), 1, 7, 6);
  const applied = applyLorsa(layer, x);
  const rows = { ...x, shape: [7, 6] };
  const forward = lorsaForward(layer.config, layer.weights, rows);
  assert.deepEqual(applied.reconstruction.data, forward.reconstruction.data);
  assert.deepEqual(applied.featureActs.data, forward.featureActs.data);
  const zp = zPatterns(layer, applied);
  assert.deepEqual(zp.shape, [1, 8, 7, 7]);
  applied.featureActs.data.forEach((z, at) => {
    if (z === 0) return;
    const [t, i] = [Math.floor(at / 8), at % 8];
    const row = zp.data.subarray((i * 7 + t) * 7, (i * 7 + t) * 7 + 7);
    assert.ok(Math.abs(row.reduce((a, b) => a + b, 0) - z) < 1e-12);
  });
});

test('token-wise and batch-wise scale input and target by their own norms, and ask for the target', () => {
  for (const normalisation of ['token-wise', 'batch-wise'] satisfies Normalisation[]) {
    const layer = tinyLayer({}, { normalisation });
    const rng = new Rng(34);
    const x = randomRows(rng, 2, 7, 6);
    const y = randomRows(rng, 2, 7, 6);
    assert.throws(
      () => applyLorsa(layer, x),
      (e: OperationError) => e.field === 'target',
    );
    const before = applyLorsa(layer, x, y);
    // Scaling everything by 4 and 8 (exact in binary) changes only the units of the answer.
    const times = (t: typeof x, c: number) => ({ ...t, data: t.data.map((v) => v * c) });
    const after = applyLorsa(layer, times(x, 4), times(y, 8));
    assert.deepEqual(after.featureActs.data, before.featureActs.data);
    assert.deepEqual(
      after.reconstruction.data,
      before.reconstruction.data.map((v) => v * 8),
    );
  }
  // One loud token moves the others' scale batch-wise, not token-wise.
  const x = randomRows(new Rng(35), 1, 7, 6);
  const loud = { ...x, data: x.data.map((v, at) => (at >= 36 ? v * 10 : v)) };
  const early = (normalisation: Normalisation, input: typeof x) =>
    applyLorsa(tinyLayer({}, { normalisation }), input, x).featureActs.data.slice(0, 48);
  assert.deepEqual(early('token-wise', loud), early('token-wise', x));
  assert.notDeepEqual(early('batch-wise', loud), early('batch-wise', x));
});

test('a damaged config or file gives a typed error or a layer, never a crash', () => {
  const { configText, weights } = writeLorsaCheckpoint(
    layerToCheckpoint(tinyLayer({ rotary: { dim: 2, base: 100, layout: 'half' } })),
  );
  const rng = new Rng(36);
  const values = [0, -1, 1.5, 1e9, 2 ** 53, Number.MAX_VALUE, null, '', 'none', [], {}, true, 3, 7];
  const config = JSON.parse(configText) as Record<string, unknown>;
  const headerBytes = Number(new DataView(weights.buffer).getBigUint64(0, true));
  let refused = 0;
  for (let round = 0; round < 600; round++) {
    const changed = { ...config };
    const bytes = weights.slice();
    if (round % 2 === 0) changed[rng.pick(Object.keys(config))] = rng.pick(values);
    else
      for (let n = 1 + rng.below(3); n > 0; n--) bytes[8 + rng.below(headerBytes)] = rng.below(256);
    try {
      const file = readSafetensors('x', bytes);
      const layer = layerFromCheckpoint(readLorsaCheckpoint(JSON.stringify(changed), file));
      const x = randomRows(new Rng(1), 1, 3, layer.config.d_model);
      applyLorsa(layer, x, x);
    } catch (error) {
      assert.ok(error instanceof OperationError, `round ${round}: ${error}`);
      refused++;
    }
  }
  assert.ok(refused > 300, `${refused} of 600 refused`);
});
