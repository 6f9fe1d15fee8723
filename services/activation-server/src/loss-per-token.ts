import type { GraphProgram, Segment } from '@heddle/models';
import { type Tensor, tensor } from '@heddle/tensor';

/** The tensor's name in a reply, and the graph's output. */
export const LOSS_PER_TOKEN = 'loss_per_token';

const TARGETS = 'loss_targets';

/**
 * *Loss of each next token*, beside the logits, which then stay in the engine: `loss_t = −log softmax(logits_t)[token_{t+1}]`.
 * One row for every row of logits.
 */
const program: GraphProgram = {
  name: LOSS_PER_TOKEN,
  needs: ['logits'],
  build(g, at) {
    const targets = g.input(TARGETS, 'i64', ['rows', 1]);
    const logProbabilities = g.logSoftmax(at('logits'), { axis: -1 }); // [token, d_vocab]
    g.output(LOSS_PER_TOKEN, g.neg(g.gatherElements(logProbabilities, targets, { axis: 1 })));
  },
};

export const lossPrograms = (wanted: boolean): { segment: Segment; program: GraphProgram }[] =>
  wanted ? [{ segment: { kind: 'unembed' }, program }] : [];

/** The next token of every row, prompt by prompt; the last of a prompt has none, and its row is thrown away. */
export function lossFeeds(prompts: readonly (readonly number[])[]): Record<string, Tensor> {
  const next = prompts.flatMap((tokens) => [...tokens.slice(1), 0]);
  return { [TARGETS]: tensor('i64', [next.length, 1], BigInt64Array.from(next, BigInt)) };
}

/** One prompt's part of the output `[token, 1]`: `[pos - 1]`. */
export function lossOf(value: Tensor, firstRow: number, length: number): Tensor<'f32'> {
  const rows = (value.data as Float32Array).slice(firstRow, firstRow + length - 1);
  return tensor('f32', [length - 1], rows);
}
