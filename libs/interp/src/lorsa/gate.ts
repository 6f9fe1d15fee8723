import { assert } from '@heddle/core';
import type { LorsaConfig } from './lorsa-config.ts';

/** What the gate needs beside the config. */
export interface GateNumbers {
  /** ‖w_o‖ `[ov_head]`. */
  readonly decoderNorms: Float64Array;
  /** jumprelu's thresholds `[ov_head]`. */
  readonly thresholds?: Float64Array | undefined;
  /** Overrides the config's K while it anneals. */
  readonly topK?: number | undefined;
}

/**
 * Which heads write at each token, and how much: z = p / ‖w_o‖ on the winners, 0 elsewhere, with the ranking value
 * p = ReLU(z̃ ‖w_o‖) (without the norm when the config says so).
 *
 *   pre     [token, ov_head]   pre-activations z̃
 *   return  [token, ov_head]   activations z ≥ 0 (any sign when `signed`)
 *
 * `topk`: the K largest p of each token; ties go to the lower index, and zeros never win, so fewer than K may be active.
 * `batchtopk`: the K · token largest over all tokens. `relu`: every positive one. `jumprelu`: every p above its threshold.
 */
export function gate(config: LorsaConfig, numbers: GateNumbers, pre: Float64Array): Float64Array {
  const { n_ov_heads } = config;
  const norms = config.decoderNormInGate ? numbers.decoderNorms : undefined;
  const rank = (index: number): number => {
    const scaled = norms ? pre[index] * norms[index % n_ov_heads] : pre[index];
    return config.signed ? Math.abs(scaled) : Math.max(0, scaled);
  };
  const out = new Float64Array(pre.length);
  const keep = (index: number) => {
    out[index] = pre[index];
  };
  const topK = numbers.topK ?? config.topK;
  switch (config.activation) {
    case 'relu':
      for (let index = 0; index < pre.length; index++) if (rank(index) > 0) keep(index);
      return out;
    case 'jumprelu': {
      const { thresholds } = numbers;
      assert(thresholds, 'jumprelu needs its thresholds');
      for (let index = 0; index < pre.length; index++) {
        if (rank(index) > thresholds[index % n_ov_heads]) keep(index);
      }
      return out;
    }
    case 'topk':
      for (let row = 0; row < pre.length; row += n_ov_heads) {
        largest(rank, row, row + n_ov_heads, topK).forEach(keep);
      }
      return out;
    case 'batchtopk':
      largest(rank, 0, pre.length, (topK * pre.length) / n_ov_heads).forEach(keep);
      return out;
  }
}

/** Indices in [from, to) of the `count` largest positive ranks: value descending, index ascending. */
function largest(
  rank: (index: number) => number,
  from: number,
  to: number,
  count: number,
): readonly number[] {
  const candidates: { index: number; value: number }[] = [];
  for (let index = from; index < to; index++) {
    const value = rank(index);
    if (value > 0) candidates.push({ index, value });
  }
  candidates.sort((a, b) => b.value - a.value || a.index - b.index);
  return candidates.slice(0, count).map(({ index }) => index);
}
