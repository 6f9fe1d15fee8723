// You will see the circuit that makes the model say " Mary" and not " John": which heads hand which signal to which,
// traced upstream from the two logits.

import assert from 'node:assert/strict';
import { withHeddle } from './with-heddle.ts';

await withHeddle(async (heddle) => {
  const { job } = await heddle.circuit.StartTrace({
    prompts: [{ text: 'When Mary and John went to the store, John gave a drink to' }],
    targets: [{ text: ' Mary' }],
    versus: [{ text: ' John' }],
    objective: 'OBJECTIVE_LOGIT',
  });
  assert.ok(job);
  const ended = await heddle.waitForJob(job.id);
  assert.equal(ended.state, 'JOB_STATE_SUCCEEDED', ended.error?.message);
  const graph = JSON.parse(
    new TextDecoder().decode(await heddle.artifactBytes(job.id, 'graph.json')),
  ) as {
    nodes: { id: string }[];
    edges: { from: string; to: string; side: string; weight: number }[];
  };
  const known = new Set(graph.nodes.map((node) => node.id));
  for (const { from, to, side, weight } of graph.edges.slice(0, 12)) {
    console.log(`${from} → ${to} (${side}) ${weight.toFixed(3)}`);
  }
  assert.ok(graph.edges.length > 0);
  assert.ok(graph.edges.every(({ from, to }) => known.has(from) && known.has(to)));
});
