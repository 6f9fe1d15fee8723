import { assert } from '@heddle/core';
import { dot, type Matrix, qr, rowOf, rowTimes, timesColumn, zeroMatrix } from '@heddle/linalg';

export interface NamedBasis {
  readonly name: string;
  /** Orthonormal columns of the query side, `[d_head, feature]`. */
  readonly basis: Matrix;
}

export interface LogitAttribution {
  /** The order decides where an overlap goes, so it is part of the answer. */
  readonly priority: readonly string[];
  readonly method: AttributionMethod;
  /**
   * For each feature in the order of `priority`, and last for what no feature spans: one term per
   * key.
   */
  readonly terms: readonly { readonly name: string; readonly byKey: Float64Array }[];
  /** `1 − Σ_s residual² / Σ_s total²`; can be negative. */
  readonly explained: number;
}

export type AttributionMethod = 'sequential' | 'orthogonalised';

/** The name of the part of the query that no feature spans. */
const RESIDUAL = 'residual';

/**
 * *Attribution of a query's logits to features*, exact for every key: `q_1 = P_1 q`,
 * `q_2 = P_2 (q − q_1)`, …, `q_res = q − Σ q_f`; the terms of key s are `q_f · k_s`.
 * `orthogonalised` makes each basis orthogonal to the earlier ones first and projects q; the two
 * differ only in where an overlap goes. Logits are unscaled. `keys` `[key_pos, d_head]`. Lee et al.
 * 2026, figure 10.
 */
export function attributeLogits(
  query: Float64Array,
  keys: Matrix,
  features: readonly NamedBasis[],
  method: AttributionMethod = 'sequential',
): LogitAttribution {
  const parts: { name: string; part: Float64Array }[] = [];
  let left = query.slice();
  let earlier = zeroMatrix(query.length, 0);
  for (const { name, basis } of features) {
    assert(basis.rows === query.length, () => `basis ${name} has ${basis.rows} rows`);
    const own = method === 'sequential' ? basis : orthogonalTo(basis, earlier);
    const part = projected(method === 'sequential' ? left : query, own);
    parts.push({ name, part });
    left = left.map((value, i) => value - part[i]);
    earlier = joined(earlier, own);
  }
  parts.push({ name: RESIDUAL, part: left });
  const terms = parts.map(({ name, part }) => ({ name, byKey: timesColumn(keys, part) }));
  const squares = (values: Float64Array) => values.reduce((sum, value) => sum + value ** 2, 0);
  const total = squares(timesColumn(keys, query));
  const residual = squares(terms[terms.length - 1].byKey);
  return {
    priority: features.map(({ name }) => name),
    method,
    terms,
    explained: total === 0 ? 0 : 1 - residual / total,
  };
}

/** `x B Bᵀ` for orthonormal columns B. */
export function projected(x: Float64Array, basis: Matrix): Float64Array {
  return timesColumn(basis, rowTimes(x, basis));
}

/** The columns of two bases side by side. */
export function joined(left: Matrix, right: Matrix): Matrix {
  assert(left.rows === right.rows, 'bases of different spaces');
  const out = zeroMatrix(left.rows, left.cols + right.cols);
  for (let i = 0; i < out.rows; i++) {
    rowOf(out, i).set(rowOf(left, i));
    rowOf(out, i).set(rowOf(right, i), left.cols);
  }
  return out;
}

/**
 * An orthonormal basis of the part of B outside of `earlier`; directions that lie inside are
 * dropped.
 */
function orthogonalTo(basis: Matrix, earlier: Matrix): Matrix {
  const columns: Float64Array[] = [];
  const outside = zeroMatrix(basis.rows, basis.cols);
  for (let j = 0; j < basis.cols; j++) {
    const column = Float64Array.from(
      { length: basis.rows },
      (_, i) => basis.data[i * basis.cols + j],
    );
    const inside = projected(column, earlier);
    for (let i = 0; i < basis.rows; i++) outside.data[i * basis.cols + j] = column[i] - inside[i];
  }
  const { Q, R } = qr(outside);
  for (let j = 0; j < basis.cols; j++) {
    // A unit vector whose outside part is below 1e-10 is inside, but for rounding.
    if (Math.abs(R.data[j * R.cols + j]) < 1e-10) continue;
    columns.push(Float64Array.from({ length: Q.rows }, (_, i) => Q.data[i * Q.cols + j]));
  }
  const out = zeroMatrix(basis.rows, columns.length);
  columns.forEach((column, j) => {
    for (let i = 0; i < basis.rows; i++) out.data[i * columns.length + j] = column[i];
  });
  return out;
}

/**
 * *Swap of two keys' coordinates in a subspace*: `k_i + (k_j − k_i) V Vᵀ` and the other way round,
 * from the old values. An involution; with a full basis it exchanges the keys, with an empty one it
 * does nothing.
 */
export function swapped(
  first: Float64Array,
  second: Float64Array,
  basis: Matrix,
): [Float64Array, Float64Array] {
  const difference = projected(
    second.map((value, i) => value - first[i]),
    basis,
  );
  return [
    first.map((value, i) => value + difference[i]),
    second.map((value, i) => value - difference[i]),
  ];
}

/** Unscaled logits `q · k_s` of every key. */
export function logitsOf(query: Float64Array, keys: readonly Float64Array[]): Float64Array {
  return Float64Array.from(keys, (key) => dot(query, key));
}
