import type { GraphBuilder, Value } from '@heddle/onnx';
import { buildGpt2 } from './gpt2-graph.ts';
import type { Gpt2Sizes } from './parameters.ts';

/**
 * Weighted cross-entropy of the next token: loss = Σ w · −log softmax(logits)[target] / Σ w. Adds the feeds `tokens`,
 * `positions`, `targets` (i64) and `weights` (f32), all `[batch, pos]`.
 */
export function buildLoss(
  g: GraphBuilder,
  sizes: Gpt2Sizes,
  parameters: Value,
): { readonly loss: Value; readonly logits: Value } {
  const tokens = g.input('tokens', 'i64', ['batch', 'pos']);
  const positions = g.input('positions', 'i64', ['batch', 'pos']);
  const targets = g.input('targets', 'i64', ['batch', 'pos']);
  const weights = g.input('weights', 'f32', ['batch', 'pos']);
  const logits = buildGpt2(g, sizes, { parameters, tokens, positions });
  const loss = g.scope('loss', () => {
    const rows = g.reshape(targets, [-1]);
    const chosen = g.mul(g.logSoftmax(logits), g.oneHot(rows, sizes.d_vocab));
    const surprise = g.neg(g.reduceSum(chosen, { axes: [1], keepDims: false }));
    const flatWeights = g.reshape(weights, [-1]);
    const total = g.reduceSum(flatWeights, { keepDims: false });
    return g.div(g.reduceSum(g.mul(surprise, flatWeights), { keepDims: false }), total);
  });
  return { loss, logits };
}
