import { assert, Rng } from '@heddle/core';
import { elementCount } from '@heddle/tensor';

/** The sizes of a GPT-2, in our words. */
export interface Gpt2Sizes {
  readonly d_vocab: number;
  readonly n_ctx: number;
  readonly d_model: number;
  readonly d_mlp: number;
  readonly n_layers: number;
  readonly n_heads: number;
}

export interface Parameter {
  /** HuggingFace's name, without `transformer.`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** First element in the flat vector of all parameters. */
  readonly offset: number;
  readonly init: 'normal' | 'residual' | 'zero' | 'one';
}

/**
 * Every parameter of a GPT-2 with tied embeddings, in the order of the flat vector. Weights stand as in HuggingFace's
 * Conv1D, rows times weight. One vector for all makes the optimiser twelve operations instead of twelve a tensor.
 */
export function gpt2Parameters(sizes: Gpt2Sizes): readonly Parameter[] {
  const { d_vocab, n_ctx, d_model, d_mlp, n_layers } = sizes;
  const out: Parameter[] = [];
  let offset = 0;
  const add = (name: string, shape: readonly number[], init: Parameter['init']) => {
    out.push({ name, shape, offset, init });
    offset += elementCount(shape);
  };
  const norm = (name: string) => {
    add(`${name}.weight`, [d_model], 'one');
    add(`${name}.bias`, [d_model], 'zero');
  };
  const linear = (name: string, from: number, to: number, init: Parameter['init']) => {
    add(`${name}.weight`, [from, to], init);
    add(`${name}.bias`, [to], 'zero');
  };
  add('wte.weight', [d_vocab, d_model], 'normal');
  add('wpe.weight', [n_ctx, d_model], 'normal');
  for (let layer = 0; layer < n_layers; layer++) {
    norm(`h.${layer}.ln_1`);
    linear(`h.${layer}.attn.c_attn`, d_model, 3 * d_model, 'normal');
    linear(`h.${layer}.attn.c_proj`, d_model, d_model, 'residual');
    norm(`h.${layer}.ln_2`);
    linear(`h.${layer}.mlp.c_fc`, d_model, d_mlp, 'normal');
    linear(`h.${layer}.mlp.c_proj`, d_mlp, d_model, 'residual');
  }
  norm('ln_f');
  return out;
}

export function parameterCount(parameters: readonly Parameter[]): number {
  return parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
}

/** GPT-2's initialisation: N(0, 0.02); what writes to the residual stream smaller by √(2 layers). */
export function initialParameters(sizes: Gpt2Sizes, seed: number): Float32Array {
  const parameters = gpt2Parameters(sizes);
  const values = new Float32Array(parameterCount(parameters));
  const rng = new Rng(seed);
  for (const { init, shape, offset } of parameters) {
    const end = offset + elementCount(shape);
    if (init === 'one') values.fill(1, offset, end);
    if (init === 'one' || init === 'zero') continue;
    const deviation = init === 'normal' ? 0.02 : 0.02 / Math.sqrt(2 * sizes.n_layers);
    for (let i = offset; i < end; i++) values[i] = deviation * rng.normal();
  }
  assert(values.every(Number.isFinite));
  return values;
}
