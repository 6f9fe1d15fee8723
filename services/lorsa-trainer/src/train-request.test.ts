import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { StartTrainRequest } from '@heddle/ports/proto/lorsa';
import { estimateTraining, settingsFor } from './lorsa-settings.ts';
import { syntheticLayer } from './synthetic-layer.ts';
import { checkedTrain } from './train-request.ts';
import { startTrain } from './training-fixture.ts';

const EMPTY = startTrain();

function refusal(run: () => unknown): OperationError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof OperationError, String(error));
    return error;
  }
  assert.fail('it was accepted');
}

const { architecture, optimiser, data } = EMPTY;
assert.ok(architecture && optimiser && data);

test('an empty request trains a layer that fits the host, from the host’s own heads', () => {
  const { host } = syntheticLayer(1);
  const request = checkedTrain(EMPTY);
  const { config, steps, batch, init } = settingsFor(request, host);
  assert.equal(init, 'active_subspace');
  assert.deepEqual(
    [config.d_model, config.d_qk_head, config.n_qk_heads, config.n_ov_heads, config.topK],
    [16, 8, 2, 64, 4],
  );
  assert.equal(config.rotary, host.rotary);
  assert.ok(steps > 0 && batch > 0 && config.n_ctx === host.n_ctx);
});

test('what is wrong in a request is refused by field', () => {
  const cases: readonly (readonly [Partial<StartTrainRequest>, string])[] = [
    [{ architecture: { ...architecture, n_ov_heads: 65_537 } }, 'architecture.n_ov_heads'],
    [{ architecture: { ...architecture, init: 'magic' } }, 'architecture.init'],
    [{ optimiser: { ...optimiser, steps: -1 } }, 'optimiser.steps'],
    [{ optimiser: { ...optimiser, batch: 1.5 } }, 'optimiser.batch'],
    [{ optimiser: { ...optimiser, learning_rate: Number.NaN } }, 'optimiser.learning_rate'],
    [{ optimiser: { ...optimiser, clip_norm: -1 } }, 'optimiser.clip_norm'],
    [{ backend: 'torch' }, 'backend'],
    [{ data: { ...data, prompts: [{ id: '' }] } }, 'data.prompts[0]'],
    [{ data: { ...data, prompts: [{ id: '', text: 'a' }], corpus: 'b.txt' } }, 'data.corpus'],
  ];
  for (const [change, field] of cases) {
    const error = refusal(() => checkedTrain({ ...EMPTY, ...change }));
    assert.equal(error.code, 'invalid_argument');
    assert.equal(error.field, field);
  }
});

test('an architecture that does not fit the host is refused by field, with the way out', () => {
  const { host } = syntheticLayer(1);
  const settle = (change: Partial<typeof architecture>) =>
    settingsFor(checkedTrain({ ...EMPTY, architecture: { ...architecture, ...change } }), host);
  const cases: readonly (readonly [Partial<typeof architecture>, string])[] = [
    [{ d_qk_head: 4 }, 'architecture.d_qk_head'],
    [{ n_qk_heads: 3, n_ov_heads: 6 }, 'architecture.n_qk_heads'],
    [{ n_ov_heads: 63 }, 'architecture.n_ov_heads'],
    [{ n_ov_heads: 64, top_k: 65 }, 'architecture.top_k'],
    [{ d_qk_head: 4, init: 'xavier' }, 'architecture.d_qk_head'],
  ];
  for (const [change, field] of cases) {
    const error = refusal(() => settle(change));
    assert.equal(error.code, 'invalid_argument');
    assert.equal(error.field, field);
  }
  assert.equal(
    settle({ d_qk_head: 8, n_qk_heads: 3, n_ov_heads: 6, top_k: 2, init: 'xavier' }).config
      .n_qk_heads,
    3,
  );
});

test('a K that nobody chose is never more than the heads that somebody did', () => {
  const { host } = syntheticLayer(1);
  const few = { ...architecture, n_ov_heads: 2, init: 'xavier' };
  const { config } = settingsFor(checkedTrain({ ...EMPTY, architecture: few }), host);

  assert.equal(config.topK, 2);
});

test('an estimate grows with steps and heads, and knows a step of the published size', () => {
  const { host } = syntheticLayer(1);
  const large = { ...host, d_model: 512, d_head: 64, n_heads: 8, n_ctx: 256, rotary: undefined };
  const settings = settingsFor(
    checkedTrain({
      ...EMPTY,
      architecture: { ...architecture, n_ov_heads: 4096, top_k: 32 },
      optimiser: { ...optimiser, steps: 1, batch: 4, context: 256 },
    }),
    large,
  );
  const { seconds, bytes } = estimateTraining(settings);
  // engine.md measured 0.27 s and 0.6 GB for this step; an estimate within a factor of three serves admission.
  assert.ok(seconds > 0.09 && seconds < 0.81, `${seconds} s`);
  assert.ok(bytes > 0.1e9 && bytes < 1.8e9, `${bytes} bytes`);
  assert.ok(estimateTraining({ ...settings, steps: 10 }).seconds > 9 * seconds);
});
