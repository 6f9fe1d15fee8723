import { assert } from '@heddle/core';
import { encodeModel, type Graph, GraphBuilder, type Value } from '@heddle/onnx';
import { bindAxes, type Tensor, tensor, zeros } from '@heddle/tensor';
import { layerInputs, lorsaGraph, parameterInputs, rotaryFeeds } from '../forward-graph.ts';
import type { HostAttention } from '../initialise.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import { parameterNames, type Real, toF32 } from '../lorsa-weights.ts';
import { encodeBlob, openTensors } from './blob.ts';
import { forEachActive, type HeadSequence } from './head-sequence.ts';

/** Share of the output that "comes from" the heads counted in `headsFor80`. */
const SPREAD_SHARE = 0.8;
const FORMAT = 'heddle.heads.original/1';

export interface OriginalShares {
  /** share_h ≥ 0, sum 1, `[head]`; all 0 when the head was never active or no host head wrote its way. */
  readonly shares: Float64Array;
  /** 1 / Σ share²: 1 for one head, `head` for all alike; 0 without shares. */
  readonly participationRatio: number;
  /** Host heads needed for 80 % of the share. */
  readonly headsFor80: number;
  /** Two or more are needed. */
  readonly spread: boolean;
}

/** Shares of the heads that have any, by how many host heads they come from. */
export interface OriginalDistribution {
  readonly heads: number;
  readonly one: number;
  readonly two: number;
  readonly threeOrMore: number;
  readonly spread: number;
  readonly meanParticipationRatio: number;
}

/**
 * *Which of the host's heads a rank-one head stands for*: share_h = E_t[ReLU(o_t^h · w_o / ‖w_o‖)] over the tokens on which it is
 * active, normalised over h, o^h = z^h W_O^h what host head h writes (methods 1.11, ours).
 *
 *   hostW_O  [head, d_head, d_model]     W_O  [ov_head, d_model]     z  [pos, head·d_head]
 *
 * Reads z and not o: o·w_o = z · (W_O^h w_o), so a token costs active · d_model and not head times that.
 * Cost to make: ov_head · d_model · head · d_head.
 */
export class OriginalHeads {
  private readonly n_heads: number;
  private readonly d_head: number;
  /** W_O^h w_o / ‖w_o‖, `[ov_head, head·d_head]`. */
  private readonly projections: Float32Array;
  private readonly sums: Float64Array;

  constructor(weights: { readonly hostW_O: Real; readonly W_O: Real }) {
    const { head, d_head, ov_head, d_model } = bindAxes({
      hostW_O: [weights.hostW_O, 'head d_head d_model'],
      W_O: [weights.W_O, 'ov_head d_model'],
    });
    this.n_heads = head;
    this.d_head = d_head;
    this.sums = new Float64Array(ov_head * head);
    const width = head * d_head;
    this.projections = new Float32Array(ov_head * width);
    for (let i = 0; i < ov_head; i++) {
      const write = weights.W_O.data.subarray(i * d_model, (i + 1) * d_model);
      let norm = 0;
      for (let d = 0; d < d_model; d++) norm += write[d] ** 2;
      for (let c = 0; c < width && norm > 0; c++) {
        let sum = 0;
        for (let d = 0; d < d_model; d++) sum += weights.hostW_O.data[c * d_model + d] * write[d];
        this.projections[i * width + c] = sum / Math.sqrt(norm);
      }
    }
  }

  /** z of the host's heads on the same sequence, row by row. */
  add(sequence: HeadSequence, z: ArrayLike<number>): void {
    const { n_heads, d_head } = this;
    const width = n_heads * d_head;
    assert(z.length >= sequence.tokens.length * width, 'z of every token');
    forEachActive(sequence, (i, position) => {
      for (let h = 0; h < n_heads; h++) {
        let dot = 0;
        for (let c = h * d_head; c < (h + 1) * d_head; c++) {
          dot += z[position * width + c] * this.projections[i * width + c];
        }
        if (dot > 0) this.sums[i * n_heads + h] += dot;
      }
    });
  }

  merge(other: OriginalHeads): void {
    assert(other.sums.length === this.sums.length, 'parts of one analysis');
    other.sums.forEach((sum, at) => {
      this.sums[at] += sum;
    });
  }

  of(ovHead: number): OriginalShares {
    const sums = this.sums.slice(ovHead * this.n_heads, (ovHead + 1) * this.n_heads);
    const total = sums.reduce((a, b) => a + b, 0);
    if (total === 0) return { shares: sums, participationRatio: 0, headsFor80: 0, spread: false };
    const shares = sums.map((sum) => sum / total);
    const squares = shares.reduce((sum, share) => sum + share * share, 0);
    let covered = 0;
    let headsFor80 = 0;
    for (const share of shares.toSorted().reverse()) {
      // Rounding in Σ share must not ask for one head more.
      if (covered >= SPREAD_SHARE - 1e-12) break;
      covered += share;
      headsFor80++;
    }
    return { shares, participationRatio: 1 / squares, headsFor80, spread: headsFor80 >= 2 };
  }

  /** Over all heads with a share. */
  distribution(): OriginalDistribution {
    const count = this.sums.length / this.n_heads;
    const all = Array.from({ length: count }, (_, i) => this.of(i)).filter(
      (of) => of.headsFor80 > 0,
    );
    const share = (test: (of: OriginalShares) => boolean) =>
      all.length > 0 ? all.filter(test).length / all.length : 0;
    const ratios = all.reduce((sum, of) => sum + of.participationRatio, 0);
    return {
      heads: all.length,
      one: share((of) => of.headsFor80 === 1),
      two: share((of) => of.headsFor80 === 2),
      threeOrMore: share((of) => of.headsFor80 >= 3),
      spread: share((of) => of.spread),
      meanParticipationRatio: all.length > 0 ? ratios / all.length : 0,
    };
  }

  /** The sums alone: the projections follow from the weights. */
  encode(): Uint8Array {
    return encodeBlob(FORMAT, { sums: tensor('f64', [this.sums.length], this.sums) });
  }

  /** Errors: `data_loss` for anything that `encode` did not write for such weights. */
  restore(bytes: Uint8Array): void {
    const sums = openTensors(bytes, FORMAT)('sums').data as Float64Array;
    assert(sums.length === this.sums.length, 'the sums of these weights');
    this.sums.set(sums);
  }
}

/**
 * The host's own attention as a Lorsa layer without a gate (methods 1.14.7): head h is the d_head rank-one units that
 * read the columns of its W_V with its pattern, so z̃ is z. Key and value heads are repeated where queries share them.
 */
export interface HostHeads {
  readonly n_heads: number;
  readonly d_head: number;
  readonly d_model: number;
  readonly n_ctx: number;
  readonly attnScale: number;
  readonly rotary: LorsaConfig['rotary'];
  readonly qkNormEps: number | undefined;
}

function configOf(host: HostHeads): LorsaConfig {
  const { n_heads, d_head, d_model, n_ctx, attnScale, rotary, qkNormEps } = host;
  return {
    d_model,
    n_ov_heads: n_heads * d_head,
    n_qk_heads: n_heads,
    d_qk_head: d_head,
    n_ctx,
    activation: 'topk',
    topK: 1,
    signed: false,
    decoderNormInGate: true,
    useDecoderBias: false,
    attnScale,
    rotary,
    qkNormEps,
  };
}

/** The graph: feeds as `hostHeadsFeeds`, output z `[token, head·d_head]`. */
export function buildHostHeads(host: HostHeads): Graph {
  const config = configOf(host);
  const g = new GraphBuilder('host_heads');
  const parameters = { ...parameterInputs(g, config) } as Record<string, Value>;
  g.output('z', lorsaGraph(g, config, parameters, layerInputs(g, config)).preActivations);
  return g.build();
}

export const encodedHostHeads = (host: HostHeads): Uint8Array => encodeModel(buildHostHeads(host));

/** x `[batch, pos, d_model]`: what the host multiplies by W_Q. */
export function hostHeadsFeeds(
  host: HostHeads,
  attention: HostAttention,
  x: Tensor<'f32'>,
): Readonly<Record<string, Tensor>> {
  const config = configOf(host);
  const { n_heads, d_head, d_model } = host;
  const { pos } = bindAxes({ x: [x, 'batch pos d_model'] });
  const expanded = (t: Real | undefined, inner: number): Float32Array => {
    const out = new Float32Array(n_heads * inner);
    if (!t) return out;
    const group = n_heads / t.shape[0];
    for (let h = 0; h < n_heads; h++) {
      const from = Math.floor(h / group) * inner;
      out.set(t.data.subarray(from, from + inner), h * inner);
    }
    return out;
  };
  const gains = (t: Real | undefined) =>
    tensor(
      'f32',
      [n_heads, d_head],
      Float32Array.from({ length: n_heads * d_head }, (_, at) => t?.data[at % d_head] ?? 1),
    );
  const square = [n_heads, d_model, d_head];
  const bias = [n_heads, d_head];
  const columns = expanded(attention.W_V, d_model * d_head);
  const W_V = new Float32Array(columns.length);
  for (let h = 0; h < n_heads; h++) {
    for (let d = 0; d < d_model; d++) {
      for (let c = 0; c < d_head; c++) {
        W_V[(h * d_head + c) * d_model + d] = columns[(h * d_model + d) * d_head + c];
      }
    }
  }
  const feeds: Record<string, Tensor> = {
    W_Q: tensor('f32', square, expanded(attention.W_Q, d_model * d_head)),
    W_K: tensor('f32', square, expanded(attention.W_K, d_model * d_head)),
    b_Q: tensor('f32', bias, expanded(attention.b_Q, d_head)),
    b_K: tensor('f32', bias, expanded(attention.b_K, d_head)),
    W_V: tensor('f32', [n_heads * d_head, d_model], W_V),
    b_V: tensor('f32', [n_heads * d_head], expanded(attention.b_V, d_head)),
    W_O: zeros('f32', [n_heads * d_head, d_model]),
    ln_q: gains(attention.q_norm),
    ln_k: gains(attention.k_norm),
  };
  const tables = Object.entries(rotaryFeeds(config, pos)).map(([name, t]) => [name, toF32(t)]);
  return {
    x,
    k: tensor('i64', [1], BigInt64Array.of(1n)),
    ...Object.fromEntries(parameterNames(config).map((name) => [name, feeds[name]])),
    ...Object.fromEntries(tables),
  };
}
