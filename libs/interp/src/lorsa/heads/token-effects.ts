import { assert } from '@heddle/core';
import { encodeModel, type Graph, GraphBuilder } from '@heddle/onnx';
import { bindAxes, type Tensor, tensor } from '@heddle/tensor';
import type { Real } from '../lorsa-weights.ts';

/** A token with what a direction adds to its logit (or, on the input side, reads from its embedding). */
export interface TokenEffect {
  readonly token: number;
  /** Over the mean of the vocabulary, which a softmax does not see. */
  readonly effect: number;
}

/**
 * *Write rows with the final norm folded in*: their products with W_U are the direct logit effects, up to the norm's positive scale,
 * which differs by token and is left out (methods 1.11). `centre`: LayerNorm subtracts a vector's mean first; RMSNorm does not.
 *
 *   W_O     [ov_head, d_model]     gain  [d_model]
 *   return  [ov_head, d_model]
 */
export function foldedWrites(
  W_O: Real,
  norm: { readonly gain: ArrayLike<number>; readonly centre: boolean },
): Tensor<'f32'> {
  const { ov_head, d_model } = bindAxes({ W_O: [W_O, 'ov_head d_model'] });
  assert(norm.gain.length === d_model, 'the gain of the final norm');
  const data = new Float32Array(ov_head * d_model);
  for (let i = 0; i < ov_head; i++) {
    let mean = 0;
    for (let d = 0; d < d_model && norm.centre; d++) mean += W_O.data[i * d_model + d] / d_model;
    for (let d = 0; d < d_model; d++) {
      data[i * d_model + d] = (W_O.data[i * d_model + d] - mean) * norm.gain[d];
    }
  }
  return tensor('f32', [ov_head, d_model], data);
}

/**
 * *Direct logit effects, one at a time*: direction · row − mean over the vocabulary. With W_V and the embedding it is the input side.
 *
 *   directions  [ov_head, d_model]     rows  [d_vocab, d_model], a word per row
 */
export class TokenEffects {
  readonly heads: number;
  readonly d_vocab: number;
  private readonly directions: Real;
  private readonly rows: Real;
  private readonly means: Float64Array;

  constructor(of: { readonly directions: Real; readonly rows: Real }) {
    const { ov_head, d_vocab, d_model } = bindAxes({
      directions: [of.directions, 'ov_head d_model'],
      rows: [of.rows, 'd_vocab d_model'],
    });
    this.heads = ov_head;
    this.d_vocab = d_vocab;
    this.directions = of.directions;
    this.rows = of.rows;
    const mean = new Float64Array(d_model);
    for (let at = 0; at < of.rows.data.length; at++)
      mean[at % d_model] += of.rows.data[at] / d_vocab;
    this.means = Float64Array.from({ length: ov_head }, (_, i) => {
      let sum = 0;
      for (let d = 0; d < d_model; d++) sum += of.directions.data[i * d_model + d] * mean[d];
      return sum;
    });
  }

  effect(head: number, token: number): number {
    assert(token >= 0 && token < this.d_vocab, () => `token ${token} of ${this.d_vocab}`);
    const d_model = this.rows.shape[1];
    const { data } = this.rows;
    let sum = 0;
    for (let d = 0; d < d_model; d++) {
      sum += this.directions.data[head * d_model + d] * data[token * d_model + d];
    }
    return sum - this.means[head];
  }

  /**
   * Where a token stands among candidates by its effect: the share of the others that are lower, equal ones half; ½ without others.
   * A token from a random place gives ½ on average, whatever the head.
   */
  percentile(head: number, token: number, candidates: readonly number[]): number {
    const own = this.effect(head, token);
    let below = 0;
    let others = 0;
    for (const candidate of candidates) {
      if (candidate === token) continue;
      const effect = this.effect(head, candidate);
      others++;
      below += effect < own ? 1 : effect === own ? 0.5 : 0;
    }
    return others > 0 ? below / others : 0.5;
  }
}

/**
 * The strongest and weakest words of every direction, for one block of the vocabulary.
 *
 *   feeds     directions `[ov_head, d_model]` · rows `[d_vocab, d_model]`, a block · n i64 `[1]`, at most the block's words
 *   outputs   top, bottom `[ov_head, feature]` with feature = n, their words top_index, bottom_index i32 · sum `[ov_head]`
 */
export function buildTokenTops(): Graph {
  const g = new GraphBuilder('token_tops');
  const directions = g.input('directions', 'f32', ['ov_head', 'd_model']);
  const rows = g.input('rows', 'f32', ['d_vocab', 'd_model']);
  g.sizeInput('n');
  const effects = g.gemm(directions, rows, { transB: true });
  const top = g.topK(effects, 'n');
  const bottom = g.topK(effects, 'n', { largest: false });
  g.output('top', top.values);
  g.output('top_index', g.cast(top.indices, 'i32'));
  g.output('bottom', bottom.values);
  g.output('bottom_index', g.cast(bottom.indices, 'i32'));
  g.output('sum', g.reduceSum(effects, { axes: [1], keepDims: false }));
  return g.build();
}

export const encodedTokenTops = (): Uint8Array => encodeModel(buildTokenTops());

export function tokenTopsFeeds(
  directions: Tensor<'f32'>,
  block: Tensor<'f32'>,
  n: number,
): Readonly<Record<string, Tensor>> {
  const count = Math.min(n, block.shape[0]);
  return { directions, rows: block, n: tensor('i64', [1], BigInt64Array.of(BigInt(count))) };
}

/** Puts the blocks of a vocabulary together: the n strongest and weakest words of every head, equal ones by id. */
export class TokenTops {
  private readonly n: number;
  private readonly tops: TokenEffect[][];
  private readonly bottoms: TokenEffect[][];
  private readonly sums: Float64Array;
  private words = 0;

  constructor(heads: number, n: number) {
    this.n = n;
    this.tops = Array.from({ length: heads }, () => []);
    this.bottoms = Array.from({ length: heads }, () => []);
    this.sums = new Float64Array(heads);
  }

  /** What the graph gave for the words from `firstToken` on. */
  addBlock(firstToken: number, words: number, outputs: Readonly<Record<string, Tensor>>): void {
    const read = (name: string) => outputs[name].data as Float32Array;
    const count = outputs['top'].shape[1];
    this.words += words;
    for (let i = 0; i < this.sums.length; i++) {
      this.sums[i] += read('sum')[i];
      const listed = (side: 'top' | 'bottom') =>
        Array.from({ length: count }, (_, j) => ({
          token: firstToken + read(`${side}_index`)[i * count + j],
          effect: read(side)[i * count + j],
        }));
      this.tops[i] = this.best([...this.tops[i], ...listed('top')], 1);
      this.bottoms[i] = this.best([...this.bottoms[i], ...listed('bottom')], -1);
    }
  }

  private best(words: TokenEffect[], sign: number): TokenEffect[] {
    words.sort((a, b) => sign * (b.effect - a.effect) || a.token - b.token);
    return words.slice(0, this.n);
  }

  /** Strongest first. */
  top(head: number): TokenEffect[] {
    return this.centred(head, this.tops[head]);
  }

  /** Weakest first. */
  bottom(head: number): TokenEffect[] {
    return this.centred(head, this.bottoms[head]);
  }

  private centred(head: number, words: readonly TokenEffect[]): TokenEffect[] {
    const mean = this.words > 0 ? this.sums[head] / this.words : 0;
    return words.map(({ token, effect }) => ({ token, effect: effect - mean }));
  }
}
