import assert from 'node:assert/strict';
import { test } from 'node:test';
import { showTraining, type TrainSummary } from './show-training.ts';

const SUMMARY: TrainSummary = {
  ...{ layer: 1, fvu: 0.2, l0: 7.5, top_k: 8, heads: 64, dead_heads: 16, dead_after_tokens: 5000 },
  ...{ dense_heads: 4, loss: 1.25, steps: 1000, tokens: 50_000, train_tokens: 9000 },
  ...{ held_out_tokens: 1000, documents: 12, backend: 'sparse', init: 'active_subspace' },
  ...{ seconds: 2, tokens_per_second: 25_000 },
};

test('a training shows its figures with what they were measured on, and what comes next', () => {
  const text = showTraining('job-1', SUMMARY, undefined);
  assert.match(text, /FVU +0\.2000 on 1,000 tokens held out/);
  assert.match(text, /dead +16 \(25\.0 %\), silent for 5,000 tokens/);
  assert.match(text, /heddle lorsa eval job-1/);
});

test('a training that is worse than the mean says so', () => {
  const poor = showTraining('job-1', { ...SUMMARY, fvu: 5e10 }, undefined);
  assert.match(poor, /less than the mean/);
  assert.doesNotMatch(showTraining('job-1', SUMMARY, undefined), /less than the mean/);
});
