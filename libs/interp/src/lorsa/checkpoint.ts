import { failedPrecondition, invalidArgument } from '@heddle/core';
import {
  expansionFactor,
  type LorsaCheckpoint,
  type LorsaCheckpointParts,
  type LorsaConfigJson,
  ovHeadsOf,
} from '@heddle/formats';
import type { Tensor } from '@heddle/tensor';
import { checkLorsaConfig, type LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, mapWeights, parameterNames, toF32 } from './lorsa-weights.ts';
import type { MeanNorms } from './normalisation.ts';
import { type RotaryConfig, rotaryTable } from './rotary.ts';

/** How a dictionary's input and target are scaled (methods 1.4); `inference`: not at all, the scale is in the weights. */
export type Normalisation = LorsaConfigJson['norm_activation'];

/** A Lorsa layer with what surrounds it: where it reads and writes, and in which units. */
export interface LorsaLayer {
  readonly config: LorsaConfig;
  readonly weights: LorsaWeights;
  readonly hookIn: string;
  readonly hookOut: string;
  readonly normalisation: Normalisation;
  /** Present exactly under `dataset-wise`. */
  readonly norms?: MeanNorms | undefined;
}

/** Names in the file that differ from ours. */
const FILE_NAMES = {
  ln_q: 'ln_q.w',
  ln_k: 'ln_k.w',
  logThreshold: 'activation_function.log_jumprelu_threshold',
} as const;

/** Tables in a half-precision checkpoint are rounded to 2^-8; a wrong base or layout is off by about 1. */
const ROTARY_TOLERANCE = 2 ** -7;

function rotaryOf(json: LorsaConfigJson): RotaryConfig | undefined {
  if (json.positional_embedding_type === 'none') return undefined;
  return {
    dim: json.rotary_dim,
    base: json.rotary_base,
    layout: json.rotary_adjacent_pairs ? 'adjacent' : 'half',
    scaling: json.use_NTK_by_parts_rope
      ? {
          factor: json.NTK_by_parts_factor,
          lowFreqFactor: json.NTK_by_parts_low_freq_factor,
          highFreqFactor: json.NTK_by_parts_high_freq_factor,
          oldContextLength: json.old_context_len,
        }
      : undefined,
  };
}

/**
 * The layer that a published checkpoint describes. Errors: `invalid_argument` when its rotary tables are not those of
 * its config, so that a stale config cannot give silently other numbers.
 */
export function layerFromCheckpoint(checkpoint: LorsaCheckpoint): LorsaLayer {
  const { config: json, tensors, averageNorms } = checkpoint;
  const config = checkLorsaConfig({
    d_model: json.d_model,
    n_ov_heads: ovHeadsOf(json),
    n_qk_heads: json.n_qk_heads,
    d_qk_head: json.d_qk_head,
    n_ctx: json.n_ctx,
    activation: json.act_fn === 'signed-topk' ? 'topk' : json.act_fn,
    topK: json.top_k,
    signed: json.act_fn === 'signed-topk',
    decoderNormInGate: json.sparsity_include_decoder_norm,
    useDecoderBias: json.use_decoder_bias,
    attnScale: json.attn_scale ?? Math.sqrt(json.d_qk_head),
    rotary: rotaryOf(json),
    qkNormEps: json.use_post_qk_ln ? json.eps : undefined,
  });
  checkRotaryTables(config, tensors);
  const read = (name: string) => tensors[name] as Tensor<'f32'>;
  const names = [
    ...parameterNames(config),
    ...(json.act_fn === 'jumprelu' ? ['logThreshold'] : []),
  ];
  const weights = Object.fromEntries(
    names.map((name) => [name, read(FILE_NAMES[name as keyof typeof FILE_NAMES] ?? name)]),
  ) as unknown as LorsaWeights;
  const noBias = {
    dtype: 'f32' as const,
    shape: [json.d_model],
    data: new Float32Array(json.d_model),
  };
  const input = averageNorms[json.hook_point_in];
  const output = averageNorms[json.hook_point_out];
  return {
    config,
    weights: config.useDecoderBias ? weights : { ...weights, b_D: noBias },
    hookIn: json.hook_point_in,
    hookOut: json.hook_point_out,
    normalisation: json.norm_activation,
    norms: input !== undefined && output !== undefined ? { input, output } : undefined,
  };
}

function checkRotaryTables(
  config: LorsaConfig,
  tensors: Readonly<Record<string, Tensor<'f32'>>>,
): void {
  if (!config.rotary) return;
  const table = rotaryTable(config.rotary, config.n_ctx);
  for (const [name, expected] of [
    ['rotary_cos', table.cos],
    ['rotary_sin', table.sin],
  ] as const) {
    const stored = tensors[name];
    // fp32 angles lose pos · 6e-8 radians; beyond the tolerance the table is another one.
    const at = stored?.data.findIndex(
      (value, index) => Math.abs(value - expected[index]) > ROTARY_TOLERANCE,
    );
    if (at !== undefined && at >= 0) {
      throw invalidArgument(
        `${name} holds ${stored?.data[at]} at position ${Math.floor(at / config.rotary.dim)}, but the config's rotary settings give ${expected[at]}`,
        { field: name },
      );
    }
  }
}

/** The tables `rotary_cos` and `rotary_sin` `[pos, d_head]` that a config asks for, from angles in double; none without rotary. */
export function rotaryTablesOf(json: LorsaConfigJson): Readonly<Record<string, Tensor<'f32'>>> {
  return rotaryTensors({ rotary: rotaryOf(json), n_ctx: json.n_ctx });
}

function rotaryTensors(
  config: Pick<LorsaConfig, 'rotary' | 'n_ctx'>,
): Record<string, Tensor<'f32'>> {
  if (!config.rotary) return {};
  const { cos, sin } = rotaryTable(config.rotary, config.n_ctx);
  const shape = [config.n_ctx, config.rotary.dim];
  return {
    rotary_cos: toF32({ dtype: 'f64', shape, data: cos }),
    rotary_sin: toF32({ dtype: 'f64', shape, data: sin }),
  };
}

/**
 * What the published format stores of a layer. Errors: `failed_precondition` for a signed layer, which it cannot say: to
 * keep one for ourselves, `ownCheckpoint`.
 */
export function layerToCheckpoint(
  layer: LorsaLayer,
  metadata: Readonly<Record<string, string>> = {},
): LorsaCheckpointParts {
  if (!layer.config.signed) return ownCheckpoint(layer, metadata);
  throw failedPrecondition(
    'the layer is signed, which the published format cannot say: its readers would drop every negative activation. Train without `signed` to export',
    { field: 'checkpoint' },
  );
}

/** The same, also of a signed layer, under an activation function that no other reader knows. */
export function ownCheckpoint(
  layer: LorsaLayer,
  metadata: Readonly<Record<string, string>> = {},
): LorsaCheckpointParts {
  const { config, hookIn, hookOut } = layer;
  const { rotary } = config;
  const scaling = rotary?.scaling;
  const json: LorsaConfigJson = {
    sae_type: 'lorsa',
    d_model: config.d_model,
    expansion_factor: expansionFactor(config.d_model, config.n_ov_heads),
    use_decoder_bias: config.useDecoderBias,
    act_fn: config.signed ? 'signed-topk' : config.activation,
    norm_activation: layer.normalisation,
    sparsity_include_decoder_norm: config.decoderNormInGate,
    top_k: config.topK,
    use_triton_kernel: false,
    sparsity_threshold_for_triton_spmm_kernel: 0.996,
    jumprelu_threshold_window: 2,
    hook_point_in: hookIn,
    hook_point_out: hookOut,
    n_qk_heads: config.n_qk_heads,
    d_qk_head: config.d_qk_head,
    positional_embedding_type: rotary ? 'rotary' : 'none',
    rotary_dim: rotary?.dim ?? config.d_qk_head,
    rotary_base: rotary?.base ?? 10000,
    rotary_adjacent_pairs: rotary?.layout === 'adjacent',
    rotary_scale: 1,
    use_NTK_by_parts_rope: scaling !== undefined,
    NTK_by_parts_factor: scaling?.factor ?? 1,
    NTK_by_parts_low_freq_factor: scaling?.lowFreqFactor ?? 1,
    NTK_by_parts_high_freq_factor: scaling?.highFreqFactor ?? 1,
    old_context_len: scaling?.oldContextLength ?? 2048,
    n_ctx: config.n_ctx,
    attn_scale: config.attnScale,
    use_post_qk_ln: config.qkNormEps !== undefined,
    normalization_type: config.qkNormEps === undefined ? null : 'RMS',
    eps: config.qkNormEps ?? 1e-6,
  };
  const stored = mapWeights(layer.weights, toF32);
  const parameters = [
    ...parameterNames(config),
    ...(config.activation === 'jumprelu' ? (['logThreshold'] as const) : []),
  ];
  const tensors = parameters.flatMap((name) => {
    const t = stored[name];
    return t ? [[FILE_NAMES[name as keyof typeof FILE_NAMES] ?? name, t] as const] : [];
  });
  return {
    config: json,
    tensors: { ...Object.fromEntries(tensors), ...rotaryTensors(config) },
    averageNorms: layer.norms ? { [hookIn]: layer.norms.input, [hookOut]: layer.norms.output } : {},
    metadata,
  };
}
