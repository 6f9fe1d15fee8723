import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addSums,
  countSilence,
  type DeadCounter,
  deadHeads,
  emptySums,
  figures,
  measure,
} from './metrics.ts';

const valid = [1, 1, 1, 0];
const y = [1, 0, 3, 0, 2, 3, 99, 99];
const z = [1, 0, 0, 2, 3, 0, 0, 0, 0, 5, 5, 5];

test('the mean as reconstruction explains nothing: FVU 1, EV 0', () => {
  const reconstruction = [2, 1, 2, 1, 2, 1, 0, 0];
  const { fvu, ev } = figures(measure(2, { y, reconstruction, featureActs: z, valid }));
  assert.ok(Math.abs(fvu - 1) < 1e-12 && Math.abs(ev) < 1e-12);
});

test('the target as reconstruction explains everything, and padding counts nowhere', () => {
  const reconstruction = [...y.slice(0, 6), 0, 0];
  const { fvu, loss, l0 } = figures(measure(2, { y, reconstruction, featureActs: z, valid }));
  assert.deepEqual({ fvu, loss, l0 }, { fvu: 0, loss: 0, l0: 1 });
});

test('FVU is pooled over batches, not averaged per token or per batch', () => {
  const reconstruction = [0, 0, 0, 0, 0, 0, 0, 0];
  const all = figures(measure(2, { y, reconstruction, featureActs: z, valid }));
  const parts = [0, 1, 2].map((t) =>
    measure(2, {
      y: y.slice(2 * t, 2 * t + 2),
      reconstruction: [0, 0],
      featureActs: z.slice(3 * t, 3 * t + 3),
      valid: [1],
    }),
  );
  assert.deepEqual(figures(parts.reduce(addSums, emptySums(2))), all);
  // By hand: Σ‖y‖² = 1 + 9 + 13; variance about (2, 1): 2 + 2 + 4.
  assert.ok(Math.abs(all.fvu - 23 / 8) < 1e-12);
});

test('a head is dead after the threshold without firing, and alive again when it fires', () => {
  let counter: DeadCounter = { silentTokens: new Float64Array(3) };
  counter = countSilence(counter, [1, 0, 0], 100);
  counter = countSilence(counter, [0, 0, 2], 100);
  assert.deepEqual([...counter.silentTokens], [100, 200, 0]);
  assert.equal(deadHeads(counter, 200), 1);
  assert.equal(deadHeads(counter, 100), 2);
  assert.equal(deadHeads(countSilence(counter, [0, 1, 0], 50), 200), 0);
});
