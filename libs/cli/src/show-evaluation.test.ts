import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EvaluationSummary, showEvaluation } from './show-evaluation.ts';

const row = {
  ...{ name: 'lorsa', fvu: 0.0837, fvu_error: 0.0024, ev: 0.9163, relative_l2: 0.2, l0: 36 },
  ...{ dead: 53, dead_share: 53 / 576, ce: 1.41, ce_increase: 0.0136, ce_increase_error: 0.0066 },
  ...{ loss_recovered: 0.98496, loss_recovered_error: 0.0076 },
};
const none = { relative_l2: null, l0: null, dead: null, dead_share: null };
const exact = { ce_increase_error: 0, loss_recovered_error: 0, fvu_error: 0 };

const summary: EvaluationSummary = {
  ...{ checkpoint: 'job-1', model: '', hook_out: 'blocks.1.hook_attn_out', heads: 576, top_k: 36 },
  text: {
    ...{ source: 'held-out', tokens: 2018, documents: 58, documents_left_out: 2 },
    trained_on_known: true,
  },
  downstream: { predictions: 1959, every_nth_sequence: 1 },
  rows: [
    {
      ...row,
      ...none,
      ...exact,
      name: 'original',
      fvu: 0,
      ev: 1,
      ce_increase: 0,
      loss_recovered: 1,
    },
    row,
  ],
  fvu_at_k: [{ top_k: 36, fvu: 0.0837, fvu_error: 0.0024, l0: 36, sae_fvu: null, sae_l0: null }],
  baseline: null,
  training: { dead_heads: 0, dead_after_tokens: 61_440 },
};

const lineOf = (text: string, start: string) =>
  text.split('\n').find((line) => line.startsWith(start)) ?? '';

test('a row tells every figure with its error, and nothing where nothing was measured', () => {
  const text = showEvaluation(summary);
  assert.deepEqual(lineOf(text, 'Lorsa').split(/ {2,}/), [
    'Lorsa',
    '0.084 ±0.002',
    '0.916',
    '0.200',
    '36.0',
    '53 (9.2 %)',
    '1.410',
    '0.014 ±0.007',
    '0.985 ±0.008',
  ]);
  assert.deepEqual(lineOf(text, 'the layer itself').split(/ {2,}/).slice(1, 6), [
    '0.000',
    '1.000',
    '-',
    '-',
    '-',
  ]);
  assert.match(text, /the bundled model by 576 heads, K 36/);
  assert.match(text, /2018 tokens of 58 documents, held out of its training/);
  assert.match(text, /left out: 2 documents that the training saw/);
  assert.match(text, /end of the training: 0 \(silent for 61440 tokens\)/);
});

test('the curve over K is shown where there is one, with the autoencoder’s beside it', () => {
  assert.doesNotMatch(showEvaluation(summary), /another K/);
  const point = { fvu_error: null, l0: 8, sae_l0: 7.9 };
  const compared = {
    ...summary,
    baseline: 'job-2',
    fvu_at_k: [
      { ...point, top_k: 8, fvu: 0.465, sae_fvu: 0.448 },
      { ...point, top_k: 16, fvu: 0.2, sae_fvu: 0.1 },
    ],
  };
  const text = showEvaluation(compared);
  assert.deepEqual(lineOf(text, '8 ').split(/ {2,}/), ['8', '0.465', '8.0', '0.448', '7.9']);
  assert.match(text, /the SAE is job job-2/);
});

test('what makes the numbers less sure is said', () => {
  const text = showEvaluation({
    ...summary,
    text: { ...summary.text, trained_on_known: false, source: 'generated', documents: 1 },
    downstream: { predictions: 10, every_nth_sequence: 3 },
    training: null,
  });
  assert.match(text, /of 1 document, of generated text/);
  assert.match(text, /nobody knows what this checkpoint was trained on/);
  assert.match(text, /CE: every 3rd sequence/);
});

test('a figure is told to its error’s first digit, and one too small for three places in powers of ten', () => {
  const tiny = { ...row, ce_increase: 1.84e-4, ce_increase_error: 0.002 };
  const sharp = { ...row, fvu: 3.2568e-3, fvu_error: 3.3e-4 };
  const exact = { ...row, fvu: 3.2e-13, fvu_error: null };
  const text = showEvaluation({ ...summary, rows: [tiny, sharp, exact] });
  assert.match(text, /0\.000 ±0\.002/);
  assert.match(text, /0\.0033 ±0\.0003/);
  assert.match(text, /3\.2e-13/);
});
