export { type Eig, eigSymmetric } from './eig-symmetric.ts';
export { EPSILON, JACOBI_SWEEPS_MAX } from './limits.ts';
export { composed, lowRankSvd } from './low-rank-svd.ts';
export { lstsq, pinv } from './lstsq.ts';
export {
  addScaled,
  columnOf,
  dot,
  firstColumns,
  frobenius,
  fromRows,
  identityMatrix,
  type Matrix,
  matrix,
  maxAbs,
  multiply,
  multiplyTransposed,
  requireFinite,
  rowOf,
  rowTimes,
  scaleMatrix,
  timesColumn,
  toRows,
  transpose,
  zeroMatrix,
} from './matrix.ts';
export { columnMeans, type Pca, pca } from './pca.ts';
export { type Qr, qr } from './qr.ts';
export { type Svd, svd, withCanonicalSigns } from './svd.ts';
export { type TopK, topk } from './topk.ts';
