// You will see what one rank-one head of a Lorsa does: the text on which it is most active, the token that its activation
// comes from, and the token that it makes likelier: in a layer of induction heads, the one that came after last time.

import assert from 'node:assert/strict';
import { withHeddle } from './with-heddle.ts';

await withHeddle(async (heddle) => {
  const ended = async (job: { readonly id: string } | null) => {
    const { state, error } = await heddle.waitForJob(job?.id ?? '');
    assert.equal(state, 'JOB_STATE_SUCCEEDED', error?.message);
  };
  const { job } = await heddle.lorsa.StartTrain({
    layer: 1,
    architecture: { n_ov_heads: 144, top_k: 24 },
    optimiser: { steps: 80, batch: 8, learning_rate: 4e-3 },
  });
  await ended(job);
  const checkpoint = job?.id ?? '';
  await ended((await heddle.lorsa.StartAnalysis({ checkpoint })).job);

  const { heads } = await heddle.lorsa.ListHeads({
    checkpoints: [checkpoint],
    detector: 'induction',
    page_size: 5,
  });
  for (const { head, scores, rule_auroc } of heads) {
    const { score, evidence } = scores.find(({ detector }) => detector === 'induction') ?? {};
    console.log(`head ${head}: ${score?.toFixed(2)}, ${evidence}; AUROC ${rule_auroc?.toFixed(2)}`);
  }
  const best = heads[0];
  assert.ok(best);
  const { samples, summary } = await heddle.lorsa.DescribeHead({ checkpoint, head: best.head });
  for (const { tokens, position, activation, z_pattern } of samples.slice(0, 3)) {
    const from = z_pattern.indexOf(Math.max(...z_pattern));
    const sum = z_pattern.reduce((a, b) => a + b, 0);
    console.log(
      `${tokens[position]} reads ${tokens[from]}, ${position - from} back: ${activation.toFixed(2)}`,
    );
    assert.ok(Math.abs(sum - activation) < 1e-4 * activation, 'the z-pattern sums to z');
  }
  console.log(`raises ${summary?.raises.map(({ text }) => text).join('')}`);
  assert.ok((best.scores.find(({ detector }) => detector === 'induction')?.score ?? 0) > 0.4);
});
