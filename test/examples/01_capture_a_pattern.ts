// You will see where the last token of a sentence looks, head by head: the attention pattern of every head of the
// bundled model, captured by name at its hook points.

import assert from 'node:assert/strict';
import { withHeddle } from './with-heddle.ts';

const text = 'When Mary and John went to the store, John gave a drink to';

await withHeddle(async (heddle) => {
  const { tokens } = await heddle.activation.Tokenize({ prompt: { text } });
  const { tensors } = await heddle.collectRun({
    prompts: [{ text }],
    hooks: ['blocks.*.attn.hook_pattern'], // [head, query_pos, key_pos], each row sums to 1
  });
  for (const { label, tensor } of tensors) {
    const [heads = 0, query_pos = 0, key_pos = 0] = tensor.shape;
    for (let head = 0; head < heads; head++) {
      const start = (head * query_pos + query_pos - 1) * key_pos;
      const row = [...tensor.data.subarray(start, start + key_pos)].map(Number);
      const key = row.indexOf(Math.max(...row));
      console.log(`${label.name} head ${head}: ${tokens[key]?.text} ${row[key]?.toFixed(2)}`);
      const total = row.reduce((sum, weight) => sum + weight, 0);
      assert.ok(Math.abs(total - 1) < 1e-5, `the row sums to ${total}`);
    }
  }
});
