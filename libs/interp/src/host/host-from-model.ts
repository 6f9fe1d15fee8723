import { type Matrix, matrix } from '@heddle/linalg';
import {
  type AttentionWeights,
  attentionRoles,
  attentionWeights,
  type Model,
  type StoredWeight,
  weightOf,
} from '@heddle/models';
import type { Tensor } from '@heddle/tensor';
import type { Affine, HostLayerWeights, HostShape, HostWeights } from './host-weights.ts';

/** A stored weight as f32; halves are widened exactly by the caller. */
export type ReadWeight = (weight: StoredWeight) => Tensor<'f32'>;

/**
 * Roles whose tensors `hostFromModel` reads for the first `layers` blocks, and for logits when they
 * are asked about.
 */
export function hostRoles(model: Model, layers: number, logits: boolean): string[] {
  const roles = Array.from({ length: layers }, (_, layer) => hostLayerRoles(model, layer)).flat();
  return logits ? [...roles, ...hostUnembeddingRoles(model)] : roles;
}

export function hostLayerRoles(model: Model, layer: number): string[] {
  return [
    ...attentionRoles(model, layer),
    ...existing(model, [
      `blocks.${layer}.ln1.w`,
      `blocks.${layer}.ln1.b`,
      `blocks.${layer}.attn.q_norm.w`,
      `blocks.${layer}.attn.k_norm.w`,
    ]),
  ];
}

export function hostUnembeddingRoles(model: Model): string[] {
  return [unembeddingRole(model), ...existing(model, ['ln_final.w', 'ln_final.b'])];
}

/**
 * The host of a model of ours: its config and the tensors of `hostRoles`, cut into heads when a
 * layer is asked for.
 */
export function hostFromModel(model: Model, read: ReadWeight): HostWeights {
  return {
    shape: hostShape(model),
    layer: (index) => {
      const attention = attentionWeights(model, index, read);
      return hostLayer(model, index, attention, read);
    },
    unembedding: () => ({
      rows: read(weightOf(model, unembeddingRole(model))).data,
      b_U: null,
      lnFinal: affine(model, 'ln_final', read),
    }),
  };
}

function hostShape({ config }: Model): HostShape {
  const { positions } = config;
  return {
    n_layers: config.n_layers,
    n_heads: config.n_heads,
    n_key_value_heads: config.n_key_value_heads,
    d_model: config.d_model,
    d_head: config.d_head,
    d_vocab: config.d_vocab,
    norm: config.norm.kind,
    normEpsilon: config.norm.epsilon,
    attnScale: config.attn_scale,
    rotary:
      positions.kind === 'learned'
        ? null
        : {
            layout: 'half_split',
            dims: positions.dims,
            frequencies: Float64Array.from(positions.frequencies),
            amplitude: positions.amplitude,
          },
  };
}

function hostLayer(
  model: Model,
  index: number,
  attention: AttentionWeights,
  read: ReadWeight,
): HostLayerWeights {
  const gain = (name: string): Float64Array | null => {
    const role = `blocks.${index}.attn.${name}.w`;
    return model.weights.has(role) ? Float64Array.from(read(weightOf(model, role)).data) : null;
  };
  return {
    ln1: affine(model, `blocks.${index}.ln1`, read),
    W_Q: matrices(attention.W_Q),
    W_K: matrices(attention.W_K),
    W_V: matrices(attention.W_V),
    W_O: matrices(attention.W_O),
    b_Q: vectors(attention.b_Q),
    b_K: vectors(attention.b_K),
    b_V: vectors(attention.b_V),
    b_O: Float64Array.from(attention.b_O.data),
    qNorm: gain('q_norm'),
    kNorm: gain('k_norm'),
  };
}

/** One matrix for each head of a tensor by head. */
function matrices({ shape, data }: Tensor<'f32'>): Matrix[] {
  const [count, rows, cols] = shape;
  return Array.from({ length: count }, (_, head) => {
    const at = head * rows * cols;
    return matrix(rows, cols, Float64Array.from(data.subarray(at, at + rows * cols)));
  });
}

function vectors({ shape, data }: Tensor<'f32'>): Float64Array[] {
  const [count, size] = shape;
  return Array.from({ length: count }, (_, head) =>
    Float64Array.from(data.subarray(head * size, (head + 1) * size)),
  );
}

function affine(model: Model, name: string, read: ReadWeight): Affine {
  const bias = model.weights.has(`${name}.b`) ? read(weightOf(model, `${name}.b`)).data : null;
  return {
    gain: Float64Array.from(read(weightOf(model, `${name}.w`)).data),
    bias: bias === null ? null : Float64Array.from(bias),
  };
}

/** Tied models unembed with their embedding. */
function unembeddingRole(model: Model): string {
  return model.config.tiedEmbeddings ? 'W_E' : 'W_U';
}

function existing(model: Model, roles: readonly string[]): string[] {
  return roles.filter((role) => model.weights.has(role));
}
