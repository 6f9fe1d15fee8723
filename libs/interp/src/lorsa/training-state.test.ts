import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import { randomLorsa, tinyLorsaConfig } from './tiny-lorsa.ts';
import {
  decodeTrainingState,
  encodeTrainingState,
  initialState,
  weightsOf,
} from './training-state.ts';

const manifest = { request: 'sha256:00', engine: 'ort', threads: 1, shards: ['sha256:11'] };

function someState() {
  const config = tinyLorsaConfig({ rotary: { dim: 2, base: 10, layout: 'half' }, qkNormEps: 1e-6 });
  const rng = new Rng(1);
  rng.normal(); // leaves a spare deviate: it must survive too
  const state = initialState(config, randomLorsa(config, rng), {
    epochRng: rng.snapshot(),
    norms: { input: 0.1 + 0.2, output: 3 },
  });
  state.dead.silentTokens.fill(2 ** 40 + 1);
  return { ...state, step: 7, cursor: 3 };
}

test('a state comes back from its bytes as it was, to the bit', () => {
  const state = someState();
  const bytes = encodeTrainingState(state, manifest);
  const back = decodeTrainingState(bytes);
  assert.deepEqual(back.state.tensors, state.tensors);
  assert.deepEqual(back.manifest, manifest);
  assert.deepEqual(encodeTrainingState(back.state, back.manifest), bytes);
  assert.deepEqual(weightsOf(back.state), weightsOf(state));
});

test('a damaged, foreign or incomplete checkpoint is data loss, never another training', () => {
  const bytes = encodeTrainingState(someState(), manifest);
  const damaged = [
    bytes.subarray(0, bytes.length - 1),
    new Uint8Array(100),
    new TextEncoder().encode('PK not a checkpoint'),
  ];
  for (const sample of damaged) {
    assert.throws(
      () => decodeTrainingState(sample),
      (error) => error instanceof OperationError && error.code === 'data_loss',
    );
  }
});
