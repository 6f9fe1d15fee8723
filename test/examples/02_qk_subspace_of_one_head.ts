// You will see how many dimensions of a head's query-key space tell one name from another: the contrastive covariance
// of (last token, the name that is the answer) against (last token, the other name), and its singular values.

import assert from 'node:assert/strict';
import { withHeddle } from './with-heddle.ts';

const PAIRS = [
  ['Mary', 'John'],
  ['Sarah', 'Paul'],
  ['Anna', 'Kevin'],
  ['Kate', 'Simon'],
  ['Laura', 'Peter'],
  ['Emily', 'Jack'],
] as const;

await withHeddle(async (heddle) => {
  const contrasts = [];
  for (const [a, b] of PAIRS.flatMap(([x, y]) => [[x, y] as const, [y, x] as const])) {
    const text = `When ${a} and ${b} went to the store, ${b} gave a drink to`;
    const { tokens } = await heddle.activation.Tokenize({ prompt: { text } });
    const places = (name: string) =>
      tokens.flatMap((token, position) => (token.text.trim() === name ? [position] : []));
    contrasts.push({
      feature: 'answer',
      prompt: { text },
      query: tokens.length - 1,
      positive: places(a),
      negative: places(b),
    });
  }
  const { job } = await heddle.qk.StartFit({ contrasts, heads: [{ layer: 2, head: 1 }] });
  assert.ok(job);
  await heddle.waitForJob(job.id);
  const { summary } = await heddle.outcome(job.id);
  const [fit] = summary['features'] as { head: string; rank: number; singular_values: number[] }[];
  assert.ok(fit);
  console.log(
    `head ${fit.head}: rank ${fit.rank}, singular values`,
    fit.singular_values.slice(0, 5),
  );
  assert.ok(fit.rank >= 1 && fit.rank <= fit.singular_values.length);
  assert.deepEqual(
    fit.singular_values,
    fit.singular_values.toSorted((x, y) => y - x),
  );
});
