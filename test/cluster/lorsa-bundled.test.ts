/** Every layer of the bundled model taken apart by one sweep, and the induction heads found again among the rank-one ones. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lorsaCluster } from './fixtures/lorsa-cluster.ts';

const N_LAYERS = 4;
/** n_heads · d_head of the bundled model. */
const WIDTH = 3 * 48;
/** Where its dense induction heads are (libs/models/bundled/README.md). */
const INDUCTION_LAYER = 1;
const STEPS = 200;

interface Point {
  readonly layer: number;
  readonly top_k: number;
  readonly fvu: number;
  readonly job: string;
}

test('every layer of the bundled model is explained to FVU 0.15 with a quarter of its width active', async (t) => {
  const cluster = await lorsaCluster();
  t.after(() => cluster.close());
  const { heddle } = cluster;
  const { job } = await heddle.lorsa.StartSweep({
    base: { layer: 0, optimiser: { steps: STEPS } },
    layers: Array.from({ length: N_LAYERS }, (_, layer) => layer),
  });
  const { summary } = await cluster.ended(job);
  const points = summary['points'] as unknown as readonly Point[];
  assert.deepEqual(
    points.map(({ layer }) => layer),
    [0, 1, 2, 3],
  );
  for (const { layer, top_k, fvu } of points) {
    t.diagnostic(`layer ${layer}: FVU ${fvu.toFixed(4)} with K ${top_k} after ${STEPS} steps`);
    assert.ok(top_k <= WIDTH / 4, `K ${top_k}`);
    assert.ok(fvu <= 0.15, `layer ${layer}: FVU ${fvu}`);
  }

  const run = points[INDUCTION_LAYER]?.job ?? '';
  await cluster.ended((await heddle.lorsa.StartAnalysis({ checkpoint: run })).job);
  const { heads } = await heddle.lorsa.ListHeads({
    checkpoints: [run],
    detector: 'induction',
    score_min: 0.8,
  });
  const scores = heads.map(
    ({ scores: all }) => all.find(({ detector }) => detector === 'induction')?.score ?? 0,
  );
  t.diagnostic(`layer ${INDUCTION_LAYER}: ${heads.length} heads score above 0.8 at induction`);
  assert.ok(scores.length > 0, 'no rank-one head of the induction layer is an induction head');
  assert.ok(scores.every((score) => score > 0.8));
});
