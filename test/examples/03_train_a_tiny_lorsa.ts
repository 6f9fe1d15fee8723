// You will see a Lorsa learn to stand in for an attention layer: the fraction of variance that it leaves unexplained
// falls as its rank-one heads find what the layer does.

import assert from 'node:assert/strict';
import { withHeddle } from './with-heddle.ts';

await withHeddle(async (heddle) => {
  const { model } = await heddle.activation.DescribeModel({ model: '' });
  assert.ok(model);
  const { job } = await heddle.lorsa.StartTrain({
    layer: 1,
    architecture: {
      n_ov_heads: 2 * model.d_model,
      n_qk_heads: model.n_heads,
      d_qk_head: model.d_head,
      top_k: 24,
    },
    optimiser: { steps: 60, batch: 8, context: 48, learning_rate: 4e-3, warmup_steps: 5 },
    backend: 'graph',
  });
  assert.ok(job);
  const ended = await heddle.waitForJob(job.id, {
    onChange: ({ progress }) => {
      if (progress) console.log(`${progress.done}/${progress.total} ${progress.message}`);
    },
  });
  assert.equal(ended.state, 'JOB_STATE_SUCCEEDED', ended.error?.message);
  const { summary, artifacts } = await heddle.outcome(job.id);
  console.log({ fvu: summary['fvu'], l0: summary['l0'], dead_heads: summary['dead_heads'] });
  console.log(artifacts.map((artifact) => `${artifact.name} ${artifact.bytes} bytes`));
  assert.ok(Number(summary['fvu']) < 0.9, 'it explains something');
  assert.ok(Number(summary['l0']) <= 24, 'at most top_k heads are active');
});
