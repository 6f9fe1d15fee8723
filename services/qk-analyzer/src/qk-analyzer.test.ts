import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Contrast, StartFitRequest } from '@heddle/ports/proto/qk';
import { checkSampleBytes, fitHead, fitSummary, fitTensors } from './compute.ts';
import { checkedFit } from './fit-request.ts';

const contrast = (changes: Partial<Contrast> = {}): Contrast => ({
  feature: 'io',
  prompt: { id: '', text: 'a b c' },
  query: 2,
  positive: [0],
  negative: [1],
  ...changes,
});
const request = (changes: Partial<StartFitRequest>): StartFitRequest => ({
  model: '',
  contrasts: [contrast()],
  heads: [],
  weighting: 'WEIGHTING_UNSPECIFIED',
  options: null,
  client_key: '',
  ...changes,
});

test('balanced is the default; the paper’s weighting is asked for', () => {
  assert.equal(checkedFit(request({})).weighting, 'balanced');
  assert.equal(checkedFit(request({ weighting: 'WEIGHTING_PAPER' })).weighting, 'paper');
});

test('a contrast may bring one side only, but not none', () => {
  assert.equal(
    checkedFit(request({ contrasts: [contrast({ positive: [] })] })).contrasts.length,
    1,
  );
  assert.throws(
    () =>
      checkedFit(request({ contrasts: [contrast(), contrast({ positive: [], negative: [] })] })),
    { field: 'contrasts[1]' },
  );
});

test('what is wrong before the prompts are tokenised is refused by field', () => {
  const refused = (changes: Partial<Contrast>, field: string) =>
    assert.throws(() => checkedFit(request({ contrasts: [contrast(changes)] })), { field });
  refused({ feature: '' }, 'contrasts[0].feature');
  refused({ feature: 'a/b' }, 'contrasts[0].feature');
  refused({ feature: 'é'.repeat(65) }, 'contrasts[0].feature');
  refused({ prompt: null }, 'contrasts[0].prompt');
  refused({ negative: new Array(1025).fill(0) }, 'contrasts[0].negative');
  assert.throws(() => checkedFit(request({ contrasts: [] })), { field: 'contrasts' });
});

test('a fit that would not fit into memory is refused with limit and estimate', () => {
  const many = checkedFit(request({ contrasts: Array.from({ length: 5000 }, () => contrast()) }));
  checkSampleBytes(many, 10, 64);
  assert.throws(() => checkSampleBytes(many, 1000, 128), {
    code: 'resource_exhausted',
    details: { limit: 512 * 2 ** 20, estimate: 5000 * 3 * 1000 * 128 * 8 },
  });
});

test('the file and the summary carry what the fit found, under the promised names', () => {
  const samples = [-1, 1].map((z) => ({
    query: Float64Array.of(2 * z, 0),
    positive: [Float64Array.of(0, 3 * z)],
    negative: [Float64Array.of(0, 3), Float64Array.of(0, -3)],
  }));
  const fit = fitHead({ feature: 'z', layer: 4, head: 1 }, samples, 'balanced', true);
  const tensors = fitTensors([fit]);
  assert.deepEqual(Object.keys(tensors).sort(), [
    'z/C_minus.4.1',
    'z/C_plus.4.1',
    'z/Delta_C.4.1',
    'z/singular_values.4.1',
  ]);
  assert.deepEqual([...(tensors['z/Delta_C.4.1']?.data ?? [])], [0, 6, 0, 0]);
  const [line] = fitSummary([fit]) as [{ head: string; rank: number; rank_above_null: number }];
  assert.equal(line.head, '4.1');
  assert.equal(line.rank, 1);
  const again = fitHead({ feature: 'z', layer: 4, head: 1 }, samples, 'balanced', true);
  assert.equal(again.rankAboveNull, line.rank_above_null, 'the null is seeded');
  const without = fitHead({ feature: 'z', layer: 4, head: 1 }, samples, 'balanced', false);
  assert.equal(without.rankAboveNull, null);
});
