import { firstColumns, type Matrix, multiplyTransposed } from './matrix.ts';
import { type Svd, svd } from './svd.ts';

/** The slow twin of `lowRankSvd`: forms the product and keeps the first h singular triples. */
export function lowRankSvdReference(a: Matrix, b: Matrix): Svd {
  const { U, S, V } = svd(multiplyTransposed(a, b));
  return { U: firstColumns(U, a.cols), S: S.slice(0, a.cols), V: firstColumns(V, a.cols) };
}
