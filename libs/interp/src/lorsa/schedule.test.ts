import assert from 'node:assert/strict';
import { test } from 'node:test';
import { K_SHAPES, learningRateAt, topKAt } from './schedule.ts';

const quarters = (schedule: Parameters<typeof topKAt>[0]) =>
  [0.25, 0.5, 0.75, 1].map((p) => topKAt(schedule, p * schedule.steps));

test('K falls through the values that the published code gives', () => {
  assert.deepEqual(
    quarters({ shape: 'exponential-ratio', from: 768, to: 64, steps: 400 }),
    [412, 221, 119, 64],
  );
  assert.deepEqual(
    quarters({ shape: 'linear', from: 256, to: 64, steps: 400 }),
    [208, 160, 112, 64],
  );
  assert.deepEqual(
    quarters({ shape: 'exponential', from: 256, to: 64, steps: 400 }),
    [150, 100, 76, 64],
  );
});

test('the shapes of the old code pass their own middles', () => {
  const falls = (shape: 'cosine' | 'smooth-step' | 'sqrt') =>
    quarters({ shape, from: 256, to: 64, steps: 400 });
  assert.deepEqual(falls('cosine'), [228, 160, 93, 64]); // f(p) = 0.146, 0.5, 0.854
  assert.deepEqual(falls('smooth-step'), [226, 160, 94, 64]); // 0.156, 0.5, 0.844
  assert.deepEqual(falls('sqrt'), [160, 121, 90, 64]); // 0.5, 0.707, 0.866
});

test('every shape starts at K0, never rises, and stays at K1 once there', () => {
  for (const shape of K_SHAPES) {
    const schedule = { shape, from: shape === 'constant' ? 64 : 256, to: 64, steps: 100 };
    assert.equal(topKAt(schedule, 0), schedule.from, shape);
    for (let step = 1; step <= 120; step++) {
      assert.ok(topKAt(schedule, step) <= topKAt(schedule, step - 1), `${shape} at ${step}`);
    }
    assert.equal(topKAt(schedule, 1e6), 64, shape);
  }
});

test('the rate warms up, stays, and falls to its end share', () => {
  const rate = { peak: 2e-4, warmupSteps: 10, decayShare: 0.2, endShare: 1 / 32 };
  const at = (step: number) => learningRateAt(rate, step, 1000);
  assert.equal(at(0), 2e-5);
  assert.equal(at(9), 2e-4);
  assert.equal(at(500), 2e-4);
  assert.ok(at(799) === 2e-4 && at(801) < 2e-4);
  assert.ok(Math.abs(at(999) - 2e-4 * (1 / 32 + (31 / 32) * (1 / 200))) < 1e-12);
});
