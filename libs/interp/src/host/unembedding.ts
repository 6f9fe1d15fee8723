import { assert, invalidArgument } from '@heddle/core';
import type { ProcessedHost } from './processed-host.ts';

/**
 * *The unembedding with the final norm folded in*: `logits = (r / scale) W_U' + b_U'`,
 * `W_U' = diag(gamma) W_U`, `b_U' = b_U + beta W_U`; r centred in LayerNorm models (then centring
 * W_U' over d_model changes nothing and is left out). Words are rows here, as checkpoints store
 * them.
 */
export class FoldedUnembedding {
  private readonly rows: Float32Array | Float64Array;
  private readonly gain: Float64Array;
  private readonly d_model: number;
  readonly d_vocab: number;
  /** `[d_vocab]`. */
  readonly b_U: Float64Array;

  constructor(host: ProcessedHost) {
    const { rows, b_U, lnFinal } = host.weights.unembedding();
    this.rows = rows;
    this.gain = lnFinal.gain;
    this.d_model = host.shape.d_model;
    this.d_vocab = host.shape.d_vocab;
    assert(rows.length === this.d_vocab * this.d_model, 'unembedding size');
    this.b_U = Float64Array.from(b_U ?? new Float64Array(this.d_vocab));
    if (lnFinal.bias !== null) {
      const folded = this.product(lnFinal.bias);
      for (let t = 0; t < this.d_vocab; t++) this.b_U[t] += folded[t];
    }
  }

  /** Refuses a token outside of the vocabulary. */
  requireToken(token: number): void {
    if (Number.isInteger(token) && token >= 0 && token < this.d_vocab) return;
    throw invalidArgument(`token ${token} is outside of the vocabulary of ${this.d_vocab}`, {
      field: 'targets',
      details: { token, limit: this.d_vocab - 1 },
    });
  }

  /**
   * A word's direction in the normalised residual stream, `[d_model]`: its logit is the product,
   * plus b_U.
   */
  direction(token: number): Float64Array {
    this.requireToken(token);
    const at = token * this.d_model;
    return this.gain.map((gain, i) => gain * this.rows[at + i]);
  }

  /** The mean of all directions: what centring over the vocabulary subtracts. */
  meanDirection(): Float64Array {
    return this.pullBack(new Float64Array(this.d_vocab).fill(1 / this.d_vocab));
  }

  /** `x W_U'`, `[d_vocab]`. */
  logits(x: Float64Array): Float64Array {
    return this.product(x.map((value, i) => value * this.gain[i]));
  }

  /** `W_U' gᵀ`, `[d_model]`: how a gradient on logits reaches the normalised residual. */
  pullBack(g: Float64Array): Float64Array {
    const out = new Float64Array(this.d_model);
    for (let t = 0; t < this.d_vocab; t++) {
      const at = t * this.d_model;
      for (let i = 0; i < this.d_model; i++) out[i] += g[t] * this.rows[at + i];
    }
    return out.map((value, i) => value * this.gain[i]);
  }

  private product(x: Float64Array): Float64Array {
    const out = new Float64Array(this.d_vocab);
    for (let t = 0; t < this.d_vocab; t++) {
      const at = t * this.d_model;
      let sum = 0;
      for (let i = 0; i < this.d_model; i++) sum += x[i] * this.rows[at + i];
      out[t] = sum;
    }
    return out;
  }
}
