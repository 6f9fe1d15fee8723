// You will see a logit taken apart: every head by the token that it read, every MLP, the embedding and the biases, each
// computed on its own, and their sum beside the logit that the model gave.

import assert from 'node:assert/strict';
import { withHeddle } from './with-heddle.ts';

const text = 'When Mary and John went to the store, John gave a drink to';

await withHeddle(async (heddle) => {
  const { job } = await heddle.attribution.StartWhy({
    prompt: { text },
    logit: { token: { text: ' Mary' } },
  });
  assert.ok(job);
  const ended = await heddle.waitForJob(job.id);
  assert.equal(ended.state, 'JOB_STATE_SUCCEEDED', ended.error?.message);
  const { summary } = await heddle.outcome(job.id);
  const { value, sum, terms_abs_sum } = summary as Record<string, number>;
  const sources = summary['sources'] as {
    source: string;
    position: number;
    contribution: number;
  }[];
  for (const { source, position, contribution } of sources.slice(0, 10)) {
    console.log(`${source.padEnd(12)} at ${position}: ${contribution.toFixed(3)}`);
  }
  console.log({ value, sum });
  assert.ok(Math.abs(Number(value) - Number(sum)) <= 1e-4 * Number(terms_abs_sum));
});
