import type { HostShape } from './host-weights.ts';
import type { HostScope } from './read-host.ts';

const F64_BYTES = 8;

type Sizes = Pick<HostShape, 'n_heads' | 'n_key_value_heads' | 'd_model' | 'd_head' | 'd_vocab'>;

/**
 * *Memory of a processed host*, for admission: per layer `W_Q` and `W_O` of every head and `W_K` of every kv_head, one
 * layer's stored form beside them while it is read, and the unembedding where logits are asked about.
 * `8 · d_model · (layers · d_head · (2 n_heads + n_kv) + d_head · (2 n_heads + 2 n_kv) + d_vocab)` bytes.
 */
export function hostBytes(sizes: Sizes, { layers, logits }: HostScope): number {
  const { n_heads, n_key_value_heads, d_model, d_head, d_vocab } = sizes;
  const kept = layers * d_head * (2 * n_heads + n_key_value_heads);
  const stored = layers > 0 ? 2 * d_head * (n_heads + n_key_value_heads) : 0;
  return F64_BYTES * d_model * (kept + stored + (logits ? d_vocab : 0));
}
