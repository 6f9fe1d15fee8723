import { assert, invalidArgument, type Rng } from '@heddle/core';
import { addScaled, type Matrix, matrix, type Svd, svd, zeroMatrix } from '@heddle/linalg';
import { NULL_DRAWS, NULL_PERCENTILE, RANK_ENERGY } from './limits.ts';

/**
 * One query and keys that agree (positive) or disagree (negative) with it on the feature; every
 * vector `[d_head]`, after QK norm and rotation, so that the dot product is the (unscaled) logit.
 * One side may be empty: a counterfactual prompt with its own query brings the negatives of the
 * lexical contrast.
 */
export interface ContrastSample {
  readonly query: Float64Array;
  readonly positive: readonly Float64Array[];
  readonly negative: readonly Float64Array[];
}

/**
 * `balanced`: each side is a mean over its pairs. `paper`: each side is a sum over its pairs
 * divided by the number of samples, as the authors' category code does; with 5 positives and 20
 * negatives a sample, that leaves −15 times the mean key in the difference.
 */
export type Weighting = 'balanced' | 'paper';

export interface FitOptions {
  readonly weighting?: Weighting;
  /** Subtracts the mean of all keys first: takes out a large common direction. */
  readonly centreKeys?: boolean;
  readonly energy?: number;
}

export interface ContrastFit {
  /** `[d_head, d_head]`, first axis query, second key. */
  readonly C_plus: Matrix;
  readonly C_minus: Matrix;
  readonly Delta_C: Matrix;
  /** `Delta_C = U diag(S) Vᵀ`: U spans the query side, V the key side. */
  readonly svd: Svd;
  /** Smallest number of singular values with `energy` of the squares. */
  readonly rank: number;
  readonly positivePairs: number;
  readonly negativePairs: number;
}

/**
 * *Contrastive covariance* of a head for a feature: `C± = E[qᵀ k±]`, uncentred;
 * `Delta_C = C+ − C−`; SVD; rank at 0.99 of the squared Frobenius energy. If q and k are sums of
 * independent features, pairs that match on one differ from pairs that do not only in that
 * feature's term. Refuses samples without a positive or without a negative pair. Lee et al. 2026.
 */
export function contrastiveCovariance(
  samples: readonly ContrastSample[],
  { weighting = 'balanced', centreKeys = false, energy = RANK_ENERGY }: FitOptions = {},
): ContrastFit {
  const positivePairs = samples.reduce((n, s) => n + s.positive.length, 0);
  const negativePairs = samples.reduce((n, s) => n + s.negative.length, 0);
  if (positivePairs === 0 || negativePairs === 0) {
    throw invalidArgument(
      `a contrast takes pairs on both sides: there are ${positivePairs} positive and ${negativePairs} negative`,
      { field: 'contrasts', details: { positivePairs, negativePairs } },
    );
  }
  const used = centreKeys ? withCentredKeys(samples) : samples;
  const divisors =
    weighting === 'paper' ? [samples.length, samples.length] : [positivePairs, negativePairs];
  const C_plus = outerSum(used, 'positive', divisors[0]);
  const C_minus = outerSum(used, 'negative', divisors[1]);
  const Delta_C = addScaled(C_plus, C_minus, -1);
  const factors = svd(Delta_C, 'Delta_C');
  return {
    C_plus,
    C_minus,
    Delta_C,
    svd: factors,
    rank: energyRank(factors.S, energy),
    positivePairs,
    negativePairs,
  };
}

function outerSum(
  samples: readonly ContrastSample[],
  side: 'positive' | 'negative',
  divisor: number,
): Matrix {
  const d_head = samples[0].query.length;
  const sum = zeroMatrix(d_head, d_head);
  for (const sample of samples) {
    for (const key of sample[side]) {
      assert(key.length === d_head && sample.query.length === d_head, 'sizes of q and k differ');
      for (let i = 0; i < d_head; i++) {
        for (let j = 0; j < d_head; j++) {
          sum.data[i * d_head + j] += (sample.query[i] * key[j]) / divisor;
        }
      }
    }
  }
  return sum;
}

function withCentredKeys(samples: readonly ContrastSample[]): ContrastSample[] {
  const keys = samples.flatMap((s) => [...s.positive, ...s.negative]);
  const mean = new Float64Array(keys[0].length);
  for (const key of keys) {
    for (let i = 0; i < mean.length; i++) mean[i] += key[i] / keys.length;
  }
  const centred = (key: Float64Array) => key.map((value, i) => value - mean[i]);
  return samples.map(({ query, positive, negative }) => ({
    query,
    positive: positive.map(centred),
    negative: negative.map(centred),
  }));
}

/**
 * *Energy rank*: the smallest r with `Σ_{j<r} S_j² ≥ energy · Σ S_j²`; 0 for an all-zero spectrum.
 * Grows with `energy`.
 */
export function energyRank(S: Float64Array, energy = RANK_ENERGY): number {
  assert(energy > 0 && energy <= 1, () => `energy ${energy} is not in (0, 1]`);
  const total = S.reduce((sum, value) => sum + value ** 2, 0);
  if (total === 0) return 0;
  let kept = 0;
  for (let rank = 1; rank <= S.length; rank++) {
    kept += S[rank - 1] ** 2;
    if (kept >= energy * total) return rank;
  }
  return S.length;
}

/**
 * *Null by label shuffling*: the largest singular value of fits whose labels are drawn at random
 * (within a sample; sides of one-sided samples are dealt anew among them), ascending. A dimension
 * is real when its singular value is above the 95th percentile.
 */
export function shuffledNull(
  samples: readonly ContrastSample[],
  rng: Rng,
  { draws = NULL_DRAWS, ...options }: FitOptions & { readonly draws?: number } = {},
): Float64Array {
  const largest = Array.from(
    { length: draws },
    () => contrastiveCovariance(shuffled(samples, rng), options).svd.S[0],
  );
  return Float64Array.from(largest).sort();
}

function shuffled(samples: readonly ContrastSample[], rng: Rng): ContrastSample[] {
  const isOneSided = (s: ContrastSample) => s.positive.length === 0 || s.negative.length === 0;
  const sides = rng.shuffle(samples.filter(isOneSided).map((s) => s.positive.length > 0));
  return samples.map((sample) => {
    const keys = [...sample.positive, ...sample.negative];
    if (isOneSided(sample)) {
      const isPositive = sides.pop() as boolean;
      return { ...sample, positive: isPositive ? keys : [], negative: isPositive ? [] : keys };
    }
    const dealt = rng.shuffle(keys);
    return {
      query: sample.query,
      positive: dealt.slice(0, sample.positive.length),
      negative: dealt.slice(sample.positive.length),
    };
  });
}

/** How many singular values are above the null's percentile. */
export function rankAboveNull(
  S: Float64Array,
  ascendingNull: Float64Array,
  percentile = NULL_PERCENTILE,
): number {
  const at = Math.min(ascendingNull.length - 1, Math.floor(percentile * ascendingNull.length));
  return S.filter((value) => value > ascendingNull[at]).length;
}

/**
 * Orthonormal bases of the first `rank` singular directions, `[d_head, feature]`: query side and
 * key side.
 */
export function subspaces(fit: ContrastFit, rank = fit.rank): { query: Matrix; key: Matrix } {
  const take = ({ rows, cols, data }: Matrix) =>
    matrix(
      rows,
      rank,
      Float64Array.from(
        { length: rows * rank },
        (_, i) => data[Math.floor(i / rank) * cols + (i % rank)],
      ),
    );
  return { query: take(fit.svd.U), key: take(fit.svd.V) };
}
