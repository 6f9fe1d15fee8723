import { assert } from '@heddle/core';
import { type Tensor, tensor, widenBf16, widenF16 } from '@heddle/tensor';
import { type Model, type StoredWeight, weightOf } from '../model.ts';

/** Weights of one block's attention in TransformerLens' shapes. `b_*` are zeros where the family has no bias. */
export interface AttentionWeights {
  /** [head, d_model, d_head] */
  readonly W_Q: Tensor<'f32'>;
  /** [kv_head, d_model, d_head], as W_V */
  readonly W_K: Tensor<'f32'>;
  readonly W_V: Tensor<'f32'>;
  /** [head, d_head, d_model] */
  readonly W_O: Tensor<'f32'>;
  readonly b_Q: Tensor<'f32'>;
  readonly b_K: Tensor<'f32'>;
  readonly b_V: Tensor<'f32'>;
  /** [d_model] */
  readonly b_O: Tensor<'f32'>;
}

/** Roles that `attentionWeights` reads for one layer. */
export function attentionRoles(model: Model, layer: number): readonly string[] {
  return [...model.weights.keys()].filter(
    (role) => role.startsWith(`blocks.${layer}.attn.`) && !role.includes('norm'),
  );
}

/** A stored tensor as f32: halves widened exactly. */
export function widen(stored: Tensor): Tensor<'f32'> {
  const { dtype, shape, data } = stored;
  if (dtype === 'f32') return stored as Tensor<'f32'>;
  assert(dtype === 'f16' || dtype === 'bf16', () => `${dtype} is no weight type`);
  const widened = dtype === 'f16' ? widenF16(data as Uint16Array) : widenBf16(data as Uint16Array);
  return tensor('f32', shape, widened);
}

/**
 * *W_Q, W_K, W_V, W_O and biases of one layer*, cut out of however the family stores them.
 * `read` gives the f32 tensor of a role as it lies in the file.
 */
export function attentionWeights(
  model: Model,
  layer: number,
  read: (weight: StoredWeight) => Tensor<'f32'>,
): AttentionWeights {
  const { n_heads, n_key_value_heads, d_head, d_model } = model.config;
  const at = (role: string) => `blocks.${layer}.attn.${role}`;
  const source = (role: string) => read(weightOf(model, at(role)));
  const maybe = (role: string) => (model.weights.has(at(role)) ? source(role) : undefined);
  const part = (name: 'Q' | 'K' | 'V') => {
    const heads = name === 'Q' ? n_heads : n_key_value_heads;
    const { W, b, layout, rowOf } = projection(model, name, source, maybe, at);
    const weights = new Float32Array(heads * d_model * d_head);
    const bias = new Float32Array(heads * d_head);
    const width = layout === 'in_out' ? (W.shape[1] as number) : d_model;
    for (let h = 0, i = 0; h < heads; h++) {
      for (let m = 0; m < d_model; m++) {
        for (let d = 0; d < d_head; d++, i++) {
          const out = rowOf(h, d);
          weights[i] = W.data[layout === 'in_out' ? m * width + out : out * width + m] as number;
        }
      }
      for (let d = 0; d < d_head; d++) bias[h * d_head + d] = b?.data[rowOf(h, d)] ?? 0;
    }
    return [
      tensor('f32', [heads, d_model, d_head], weights),
      tensor('f32', [heads, d_head], bias),
    ] as const;
  };
  const [[W_Q, b_Q], [W_K, b_K], [W_V, b_V]] = [part('Q'), part('K'), part('V')];
  const { layout } = weightOf(model, at('O.W'));
  const W_O = outputWeights(source('O.W'), layout === 'out_in', [n_heads, d_head, d_model]);
  const b_O = maybe('O.b') ?? tensor('f32', [d_model], new Float32Array(d_model));
  return { W_Q, W_K, W_V, W_O, b_Q, b_K, b_V, b_O };
}

/** The tensor that holds one projection, and the output row of (head, d_head) in it. */
function projection(
  model: Model,
  name: 'Q' | 'K' | 'V',
  source: (role: string) => Tensor<'f32'>,
  maybe: (role: string) => Tensor<'f32'> | undefined,
  at: (role: string) => string,
) {
  const { family, d_head, d_model } = model.config;
  const which = { Q: 0, K: 1, V: 2 }[name];
  const fused = family === 'gpt2' || family === 'gpt_neox';
  const role = fused ? 'qkv' : name;
  const rowOf = {
    gpt2: (h: number, d: number) => which * d_model + h * d_head + d,
    gpt_neox: (h: number, d: number) => (h * 3 + which) * d_head + d,
    other: (h: number, d: number) => h * d_head + d,
  }[family === 'gpt2' || family === 'gpt_neox' ? family : 'other'];
  const { layout } = weightOf(model, at(`${role}.W`));
  return { W: source(`${role}.W`), b: maybe(`${role}.b`), layout, rowOf };
}

function outputWeights(
  W: Tensor<'f32'>,
  transposed: boolean,
  shape: readonly [number, number, number],
) {
  if (!transposed) return tensor('f32', shape, W.data);
  const [n_heads, d_head, d_model] = shape;
  const rows = n_heads * d_head;
  const data = new Float32Array(rows * d_model);
  for (let m = 0; m < d_model; m++) {
    for (let r = 0; r < rows; r++) data[r * d_model + m] = W.data[m * rows + r] as number;
  }
  return tensor('f32', shape, data);
}
