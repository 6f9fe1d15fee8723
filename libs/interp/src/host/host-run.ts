import { assert, failedPrecondition, present } from '@heddle/core';
import { type Matrix, matrix, maxAbs, rowOf, rowTimes, zeroMatrix } from '@heddle/linalg';
import type { HostActivations, LayerActivations } from './host-activations.ts';
import { PATTERN_TOLERANCE } from './limits.ts';
import type { ProcessedHost } from './processed-host.ts';
import { rotated } from './rotary.ts';

/**
 * What a position of the residual stream is made of. A head comes apart by the position it read
 * from.
 */
export interface ResidualSource {
  readonly kind: 'head' | 'mlp' | 'attn_bias' | 'token_embedding' | 'position_embedding';
  /** The block that wrote it; embeddings stand in layer 0. */
  readonly layer: number;
  /** Null unless a head. */
  readonly head: number | null;
  /** Where a head read from; otherwise the position itself. */
  readonly source: number;
  /** What it wrote, `[d_model]`, centred in LayerNorm models, before any norm. */
  readonly vector: Float64Array;
}

/**
 * A processed model and one prompt's activations: every linear piece that the methods take apart.
 */
export class HostRun {
  readonly host: ProcessedHost;
  readonly activations: HostActivations;
  private readonly outputs = new Map<string, Matrix>();
  private readonly scales = new Map<number, Float64Array>();

  constructor(host: ProcessedHost, activations: HostActivations) {
    this.host = host;
    this.activations = activations;
  }

  get length(): number {
    return this.activations.tokens.length;
  }

  layer(index: number): LayerActivations {
    return present(this.activations.layers[index], `capture of block ${index}`);
  }

  pattern(layer: number, head: number, query: number, key: number): number {
    const n = this.length;
    return this.layer(layer).pattern.data[(head * n + query) * n + key];
  }

  /**
   * The residual stream before a block, `layer` = n_layers: after the last; centred in LayerNorm
   * models.
   */
  residual(layer: number, position: number): Float64Array {
    const { n_layers } = this.host.shape;
    const resid =
      layer === n_layers
        ? present(this.activations.resid_final, 'capture of the final residual')
        : this.layer(layer).resid_pre;
    return this.host.centred(rowOf(resid, position));
  }

  /**
   * `sqrt(mean(r²) + eps)` of the (centred) residual: the norm's denominator, frozen in everything
   * that follows.
   */
  normScale(layer: number): Float64Array {
    const known = this.scales.get(layer);
    if (known !== undefined) return known;
    const made = Float64Array.from({ length: this.length }, (_, position) => {
      const r = this.residual(layer, position);
      const square = r.reduce((sum, value) => sum + value * value, 0) / r.length;
      return Math.sqrt(square + this.host.shape.normEpsilon);
    });
    this.scales.set(layer, made);
    return made;
  }

  /**
   * What a head writes for each position it may read from, before the pattern weighs it:
   * `(v − b_V) W_O`, `[pos, d_model]`.
   */
  headOutput(layer: number, head: number): Matrix {
    const key = `${layer}.${head}`;
    const known = this.outputs.get(key);
    if (known !== undefined) return known;
    const { d_model, d_head, n_key_value_heads } = this.host.shape;
    const weights = this.host.layer(layer);
    const kv = this.host.kvHead(head);
    const made = zeroMatrix(this.length, d_model);
    for (let position = 0; position < this.length; position++) {
      const at = (position * n_key_value_heads + kv) * d_head;
      const v = this.layer(layer).v.data.slice(at, at + d_head);
      for (let i = 0; i < d_head; i++) v[i] -= weights.b_V[kv][i];
      rowOf(made, position).set(rowTimes(v, weights.W_O[head]));
    }
    this.outputs.set(key, made);
    return made;
  }

  /**
   * *Every source of the residual stream* before a block at a position, each computed on its own:
   * `r = Σ vectors`. Heads of earlier blocks by the position they read, MLPs, attention biases
   * (with the value biases), token and position embedding.
   */
  sources(layer: number, position: number): ResidualSource[] {
    const bare = { head: null, source: position };
    const out: ResidualSource[] = [
      {
        ...bare,
        kind: 'token_embedding',
        layer: 0,
        vector: this.host.centred(rowOf(this.activations.embed, position)),
      },
    ];
    const { pos_embed } = this.activations;
    if (pos_embed !== null) {
      const vector = this.host.centred(rowOf(pos_embed, position));
      out.push({ ...bare, kind: 'position_embedding', layer: 0, vector });
    }
    for (let below = 0; below < layer; below++) {
      for (let head = 0; head < this.host.shape.n_heads; head++) {
        const written = this.headOutput(below, head);
        for (let source = 0; source <= position; source++) {
          const weight = this.pattern(below, head, position, source);
          const vector = rowOf(written, source).map((value) => value * weight);
          out.push({ kind: 'head', layer: below, head, source, vector });
        }
      }
      const b_O = this.host.layer(below).b_O;
      out.push({ ...bare, kind: 'attn_bias', layer: below, vector: b_O });
      const vector = this.host.centred(rowOf(this.layer(below).mlp_out, position));
      out.push({ ...bare, kind: 'mlp', layer: below, vector });
    }
    return out;
  }

  head(layer: number, head: number): HeadReads {
    return new HeadReads(this, layer, head);
  }
}

/**
 * *How a head reads the residual stream*, as maps that are linear once the norm scales are frozen:
 * `toQuery(r)` is r's share of the query at a position, after LN, W_Q, the query norm and the
 * rotation; `queryBias` is what no part of r brings. Their sum is the query whose product with the
 * keys, over attnScale, is the score.
 */
export class HeadReads {
  readonly layer: number;
  readonly head: number;
  private readonly run: HostRun;
  private readonly kv: number;
  private readonly normScales = new Map<string, number>();

  constructor(run: HostRun, layer: number, head: number) {
    this.run = run;
    this.layer = layer;
    this.head = head;
    this.kv = run.host.kvHead(head);
  }

  get attnScale(): number {
    return this.weights.attnScale;
  }

  private get weights() {
    return this.run.host.layer(this.layer);
  }

  toQuery(vector: Float64Array, position: number): Float64Array {
    return this.placeQuery(this.projectQuery(vector), position);
  }

  toKey(vector: Float64Array, position: number): Float64Array {
    return this.placeKey(this.projectKey(vector), position);
  }

  /** The half of `toQuery` that is the same at every position: `r W_Q`, `[d_head]`. */
  projectQuery(vector: Float64Array): Float64Array {
    return rowTimes(vector, this.weights.W_Q[this.head]);
  }

  projectKey(vector: Float64Array): Float64Array {
    return rowTimes(vector, this.weights.W_K[this.kv]);
  }

  /** The other half: over the norms' frozen scales, and turned. */
  placeQuery(projected: Float64Array, position: number): Float64Array {
    const scale = this.run.normScale(this.layer)[position];
    return this.turned(projected, position, scale * this.queryDivisor(position));
  }

  placeKey(projected: Float64Array, position: number): Float64Array {
    const scale = this.run.normScale(this.layer)[position];
    return this.turned(projected, position, scale * this.keyDivisor(position));
  }

  queryBias(position: number): Float64Array {
    return this.turned(this.weights.b_Q[this.head], position, this.queryDivisor(position));
  }

  keyBias(position: number): Float64Array {
    return this.turned(this.weights.b_K[this.kv], position, this.keyDivisor(position));
  }

  query(position: number): Float64Array {
    const bias = this.queryBias(position);
    const linear = this.toQuery(this.run.residual(this.layer, position), position);
    return linear.map((value, i) => value + bias[i]);
  }

  key(position: number): Float64Array {
    const bias = this.keyBias(position);
    const linear = this.toKey(this.run.residual(this.layer, position), position);
    return linear.map((value, i) => value + bias[i]);
  }

  /** Keys of positions 0 to `last`, `[key_pos, d_head]`. */
  keys(last: number): Matrix {
    const { d_head } = this.run.host.shape;
    const data = new Float64Array((last + 1) * d_head);
    for (let s = 0; s <= last; s++) data.set(this.key(s), s * d_head);
    return matrix(last + 1, d_head, data);
  }

  /** Refuses activations that these weights cannot have produced, instead of explaining them. */
  requireConsistent(scores: Float64Array, query: number): void {
    const pattern = softmax(scores);
    const off = maxAbs(
      pattern.map((p, key) => p - this.run.pattern(this.layer, this.head, query, key)),
    );
    if (off <= PATTERN_TOLERANCE) return;
    throw failedPrecondition(
      `attention of head ${this.layer}.${this.head} at position ${query}, recomputed from the residual stream, differs by ${off} from the captured one (limit ${PATTERN_TOLERANCE}): weights and activations do not belong together`,
      { details: { layer: this.layer, head: this.head, query, off } },
    );
  }

  private turned(vector: Float64Array, position: number, divisor: number): Float64Array {
    const out = rotated(vector, position, this.run.host.shape.rotary);
    return out.map((value) => value / divisor);
  }

  /** The frozen scale of the query norm; 1 without one. */
  queryDivisor(position: number): number {
    const before = this.weights.beforeNorm;
    if (before === null) return 1;
    return this.rms('query', before.W_Q[this.head], before.b_Q[this.head], position);
  }

  keyDivisor(position: number): number {
    const before = this.weights.beforeNorm;
    if (before === null) return 1;
    return this.rms('key', before.W_K[this.kv], before.b_K[this.kv], position);
  }

  /** The frozen denominator of the query or key norm. */
  private rms(side: 'query' | 'key', W: Matrix, bias: Float64Array, position: number): number {
    const known = this.normScales.get(`${side} ${position}`);
    if (known !== undefined) return known;
    const scale = this.run.normScale(this.layer)[position];
    const x = rowTimes(this.run.residual(this.layer, position), W);
    const square = x.reduce((sum, value, i) => sum + (value / scale + bias[i]) ** 2, 0) / x.length;
    const made = Math.sqrt(square + this.run.host.shape.normEpsilon);
    this.normScales.set(`${side} ${position}`, made);
    return made;
  }
}

/** `exp(s − max) / Σ`: sums to 1, ignores a constant shift. */
export function softmax(scores: Float64Array): Float64Array {
  assert(scores.length > 0, 'softmax of nothing');
  const max = scores.reduce((a, b) => Math.max(a, b));
  const e = scores.map((value) => Math.exp(value - max));
  const sum = e.reduce((a, b) => a + b);
  return e.map((value) => value / sum);
}
