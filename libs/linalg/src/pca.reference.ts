import { eigSymmetricReference } from './eig-symmetric.reference.ts';
import { type Matrix, multiply, transpose } from './matrix.ts';
import { columnMeans, type Pca } from './pca.ts';

/**
 * The slow twin of `pca`: eigenvectors of the covariance matrix `(X − mean)ᵀ (X − mean) / (n − 1)`;
 * all d directions.
 */
export function pcaReference(x: Matrix): Pca {
  const mean = columnMeans(x);
  const centred = { ...x, data: x.data.map((value, i) => value - mean[i % x.cols]) };
  const product = multiply(transpose(centred), centred);
  const covariance = { ...product, data: product.data.map((value) => value / (x.rows - 1)) };
  const { values, vectors } = eigSymmetricReference(covariance);
  return {
    mean,
    components: transpose(vectors),
    variances: values,
    scores: multiply(centred, vectors),
  };
}
