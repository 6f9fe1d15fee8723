import { lorsaForward } from '../forward.reference.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import type { LorsaWeights, Real } from '../lorsa-weights.ts';
import type { HeadSequence } from './head-sequence.ts';

/** The same as the analysis graph's, for one sequence, in fp64 from the twin; winners in the order of their index. */
export function referenceSequence(
  config: LorsaConfig,
  weights: LorsaWeights,
  given: {
    readonly x: Real;
    readonly tokens: ArrayLike<number>;
    readonly valid: ArrayLike<number | boolean>;
    readonly index: number;
  },
): HeadSequence {
  const { pattern, values, featureActs } = lorsaForward(config, weights, given.x);
  const [pos, ovHeads] = featureActs.shape;
  const active = Array.from({ length: pos }, (_, t) =>
    Array.from({ length: ovHeads }, (_, i) => i).filter(
      (i) => featureActs.data[t * ovHeads + i] !== 0,
    ),
  );
  const slots = Math.max(1, ...active.map((heads) => heads.length));
  const winners = new Int32Array(pos * slots);
  const acts = new Float64Array(pos * slots);
  active.forEach((heads, t) => {
    heads.forEach((head, slot) => {
      winners[t * slots + slot] = head;
      acts[t * slots + slot] = featureActs.data[t * ovHeads + head];
    });
  });
  const { tokens, valid, index } = given;
  const attention = {
    pattern: pattern.data,
    values: values.data,
    pos,
    qkHeads: config.n_qk_heads,
    ovHeads,
  };
  return { index, tokens, valid, slots, winners, acts, attention };
}
