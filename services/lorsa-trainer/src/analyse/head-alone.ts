import { type LorsaLayer, type LorsaParameter, mapWeights, qkHeadOf } from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';

/** Parameters that have a row per rank-one head, and those that have one per shared head; b_D has none. */
const PER_OV_HEAD: ReadonlySet<LorsaParameter> = new Set(['W_V', 'b_V', 'W_O', 'logThreshold']);

/**
 * A layer of one head: the shared queries and keys of head i, and its own read and write row. Its pre-activation and
 * where that comes from are those of the whole layer; who wins among heads is not asked.
 */
export function headAlone(layer: LorsaLayer, head: number): LorsaLayer {
  const qk = qkHeadOf(layer.config, head);
  const weights = mapWeights(layer.weights, (t, name): Tensor<'f32'> => {
    const isWhole = name === 'b_D';
    const row = PER_OV_HEAD.has(name) ? head : qk;
    const [, ...rest] = t.shape;
    const size = rest.reduce((product, n) => product * n, 1);
    const data = isWhole ? t.data : t.data.subarray(row * size, (row + 1) * size);
    return tensor('f32', isWhole ? t.shape : [1, ...rest], Float32Array.from(data));
  });
  const config = { ...layer.config, n_ov_heads: 1, n_qk_heads: 1, topK: 1 };
  return { ...layer, config, weights };
}
