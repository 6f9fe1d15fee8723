import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OperationError, Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { tensor, zeros } from '@heddle/tensor';
import { initialiseSae } from './initialise.ts';
import { checkSaeConfig, mapSae } from './sae-config.ts';
import { readSaeFiles, type SaeLayer, writeSaeFiles } from './sae-files.ts';
import { decodeSaeState, encodeSaeState, initialSaeState, saeWeightsOf } from './training-state.ts';

const config = { d_model: 4, d_sae: 6, topK: 2 };
const start = initialiseSae(config, zeros('f64', [4]), new Rng(2));
const pilots = [
  { rate: 0.1, fvu: null },
  { rate: 0.01, fvu: 0.25 },
];
const manifest = { request: 'sha256:1', engine: 'an engine', threads: 1, pilots };

test('a training state comes back from its blob to the bit', () => {
  const fresh = initialSaeState(config, start, new Rng(3).snapshot());
  const state = {
    ...fresh,
    step: 17,
    cursor: 5,
    silentTokens: Float64Array.of(1, 2, 3, 4, 5, 2 ** 40),
  };
  const back = decodeSaeState(encodeSaeState(state, manifest));
  assert.deepEqual(back, { state, manifest });
  assert.deepEqual(saeWeightsOf(back.state).W_dec.data, Float32Array.from(start.W_dec.data));
});

test('a damaged state is data_loss', () => {
  const bytes = encodeSaeState(initialSaeState(config, start, new Rng(3).snapshot()), manifest);
  for (const bad of [
    bytes.subarray(0, 40),
    new Uint8Array(0),
    bytes.subarray(0, bytes.length - 8),
  ]) {
    assert.throws(
      () => decodeSaeState(bad),
      (error: OperationError) => error.code === 'data_loss',
    );
  }
});

const layer: SaeLayer = {
  config,
  hook: 'blocks.3.hook_attn_out',
  weights: mapSae(start, (t) => tensor('f32', t.shape, Float32Array.from(t.data))),
};

test('the files have SAELens’ names and keys, and read back to the same layer, with their folder or without', () => {
  const files = writeSaeFiles(layer, { model_name: 'tiny' });
  const file = readSafetensors('sae_weights.safetensors', files.weights);
  assert.deepEqual([...file.names()].sort(), ['W_dec', 'W_enc', 'b_dec', 'b_enc']);
  const json = JSON.parse(files.configText);
  assert.deepEqual(
    [json.architecture, json.d_in, json.d_sae, json.k, json.dtype, json.normalize_activations],
    ['topk', 4, 6, 2, 'float32', 'none'],
  );
  assert.deepEqual(json.metadata, { hook_name: 'blocks.3.hook_attn_out', model_name: 'tiny' });
  assert.deepEqual(readSaeFiles(files.configText, file), layer);
  assert.deepEqual(readSaeFiles(undefined, file), layer);
});

test('a file of another kind is refused by the key or the tensor that is wrong', () => {
  const files = writeSaeFiles(layer, {});
  const file = readSafetensors('f', files.weights);
  const json = JSON.parse(files.configText);
  const cases: readonly (readonly [object, string])[] = [
    [{ ...json, architecture: 'jumprelu' }, 'architecture'],
    [{ ...json, normalize_activations: 'layer_norm' }, 'normalize_activations'],
    [{ ...json, d_sae: 7 }, 'W_enc'],
    [{ ...json, k: 0 }, 'topK'],
    [{ ...json, k: 7 }, 'k'],
  ];
  for (const [changed, field] of cases) {
    assert.throws(
      () => readSaeFiles(JSON.stringify(changed), file),
      (error: OperationError) => error.code === 'invalid_argument' && error.field === field,
      field,
    );
  }
  assert.throws(() => readSaeFiles('[]', file), /cfg\.json/);
});

test('sizes that are no sizes are refused', () => {
  for (const changed of [{ topK: 9 }, { d_sae: 0 }, { d_model: 1.5 }]) {
    assert.throws(() => checkSaeConfig({ ...config, ...changed }), /not a whole number|more than/);
  }
});
