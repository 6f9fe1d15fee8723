import type { Rng } from '@heddle/core';
import { type Matrix, matrix, multiply, rowTimes, scaleMatrix, transpose } from '@heddle/linalg';
import type { ContrastSample } from './contrastive-covariance.reference.ts';

/** Sizes of the payload-retrieval toy task. */
export interface ToyShape {
  readonly d_model: number;
  readonly d_head: number;
  readonly r1: number;
  readonly r2: number;
  readonly payloads: number;
  readonly latents: 'binary' | 'gaussian';
  readonly noise: number;
}

export const TOY_SHAPE: ToyShape = {
  d_model: 32,
  d_head: 16,
  r1: 3,
  r2: 5,
  payloads: 10,
  latents: 'binary',
  noise: 0.01,
};

/**
 * Fixed encoders of a toy: A for keys, B for queries, `[feature, d_model]`; e for payloads; a
 * head's W_Q, W_K.
 */
export interface Toy {
  readonly shape: ToyShape;
  readonly A1: Matrix;
  readonly A2: Matrix;
  readonly B1: Matrix;
  readonly B2: Matrix;
  readonly e: Matrix;
  readonly W_Q: Matrix;
  readonly W_K: Matrix;
}

/**
 * *The payload-retrieval toy* with an untrained head: a key is `z1 A1 + z2 A2 + e(y) + noise`, a
 * query `z1 B1 + z2 B2 + noise`; encoders N(0, 1)/√r, payloads N(0, 1)/√d, weights uniform ±1/√d.
 * Everything from the rng.
 */
export function toy(rng: Rng, shape: ToyShape = TOY_SHAPE): Toy {
  const { d_model, d_head, r1, r2, payloads } = shape;
  const draw = (rows: number, cols: number, next: () => number) =>
    matrix(rows, cols, Float64Array.from({ length: rows * cols }, next));
  const encoder = (r: number) => draw(r, d_model, () => rng.normal() / Math.sqrt(r));
  const weights = () => draw(d_model, d_head, () => (2 * rng.uniform() - 1) / Math.sqrt(d_model));
  return {
    shape,
    A1: encoder(r1),
    A2: encoder(r2),
    B1: encoder(r1),
    B2: encoder(r2),
    e: draw(payloads, d_model, () => rng.normal() / Math.sqrt(d_model)),
    W_Q: weights(),
    W_K: weights(),
  };
}

/**
 * Contrast samples for z1 (`which` 1) or z2: a fresh query (z1*, z2*); one independent latent of
 * the other kind in *both* keys; the positive has the query's latent, the negative a fresh one
 * (`mustDiffer`: redrawn until it is another); payload and noise apart.
 */
export function toyContrasts(
  { shape, ...toy }: Toy,
  which: 1 | 2,
  count: number,
  rng: Rng,
  mustDiffer = false,
): ContrastSample[] {
  const { r1, r2, noise } = shape;
  const latent = (r: number) =>
    Float64Array.from({ length: r }, () =>
      shape.latents === 'binary' ? 2 * rng.below(2) - 1 : rng.normal(),
    );
  const noisy = (x: Float64Array) => x.map((value) => value + noise * rng.normal());
  const sum = (a: Float64Array, b: Float64Array) => a.map((value, i) => value + b[i]);
  const key = (z1: Float64Array, z2: Float64Array) => {
    const payload = rng.below(shape.payloads) * shape.d_model;
    const e = toy.e.data.subarray(payload, payload + shape.d_model);
    return rowTimes(noisy(sum(sum(rowTimes(z1, toy.A1), rowTimes(z2, toy.A2)), e)), toy.W_K);
  };
  return Array.from({ length: count }, () => {
    const [z1, z2] = [latent(r1), latent(r2)];
    const query = noisy(sum(rowTimes(z1, toy.B1), rowTimes(z2, toy.B2)));
    const shared = latent(which === 1 ? r2 : r1);
    const match = which === 1 ? z1 : z2;
    let other = latent(match.length);
    while (mustDiffer && other.every((value, i) => value === match[i]))
      other = latent(match.length);
    const build = (z: Float64Array) => (which === 1 ? key(z, shared) : key(shared, z));
    return {
      query: rowTimes(query, toy.W_Q),
      positive: [build(match)],
      negative: [build(other)],
    };
  });
}

/**
 * *The closed form*: with independent latents E[z*ᵀ z+] = I and E[z*ᵀ z−] = 0, so
 * `Delta_C = (B W_Q)ᵀ (A W_K)`; with binary negatives that must differ, times `1 + 1/(2^r − 1)`.
 */
export function toyClosedForm(toy: Toy, which: 1 | 2, mustDiffer = false): Matrix {
  const [A, B] = which === 1 ? [toy.A1, toy.B1] : [toy.A2, toy.B2];
  const factor = mustDiffer ? 1 + 1 / (2 ** A.rows - 1) : 1;
  return scaleMatrix(multiply(transpose(multiply(B, toy.W_Q)), multiply(A, toy.W_K)), factor);
}
