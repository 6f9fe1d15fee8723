import { assert, invalidArgument } from '@heddle/core';
import { CONFIG_BYTES_MAX } from './limits.ts';

/** `config.json` of a published Lorsa checkpoint: the keys and defaults of Llamascopium's pydantic class (formats.md). */
export interface LorsaConfigJson {
  readonly sae_type: 'lorsa';
  readonly d_model: number;
  /** n_ov_heads = int(d_model · expansion_factor). */
  readonly expansion_factor: number;
  readonly use_decoder_bias: boolean;
  /** `signed-topk` is ours, in files that we keep for ourselves: readers of the published format refuse it by its name. */
  readonly act_fn: 'relu' | 'jumprelu' | 'topk' | 'batchtopk' | 'signed-topk';
  readonly norm_activation: 'token-wise' | 'batch-wise' | 'dataset-wise' | 'inference';
  readonly sparsity_include_decoder_norm: boolean;
  readonly top_k: number;
  readonly use_triton_kernel: boolean;
  readonly sparsity_threshold_for_triton_spmm_kernel: number;
  readonly jumprelu_threshold_window: number;
  readonly hook_point_in: string;
  readonly hook_point_out: string;
  readonly n_qk_heads: number;
  readonly d_qk_head: number;
  readonly positional_embedding_type: 'rotary' | 'none';
  readonly rotary_dim: number;
  readonly rotary_base: number;
  readonly rotary_adjacent_pairs: boolean;
  readonly rotary_scale: number;
  readonly use_NTK_by_parts_rope: boolean;
  readonly NTK_by_parts_factor: number;
  readonly NTK_by_parts_low_freq_factor: number;
  readonly NTK_by_parts_high_freq_factor: number;
  readonly old_context_len: number;
  readonly n_ctx: number;
  /** A divisor; null stands for √d_qk_head. */
  readonly attn_scale: number | null;
  readonly use_post_qk_ln: boolean;
  readonly normalization_type: 'LN' | 'RMS' | null;
  readonly eps: number;
}

type Check = (value: unknown) => boolean;
type Field = readonly [expected: string, check: Check, fallback?: unknown];

const whole: Check = (v) => Number.isSafeInteger(v) && (v as number) >= 1;
const positive: Check = (v) => typeof v === 'number' && Number.isFinite(v) && v > 0;
const flag: Check = (v) => typeof v === 'boolean';
const text: Check = (v) => typeof v === 'string' && v.length > 0;
const oneOf =
  (...values: readonly (string | null)[]): Check =>
  (v) =>
    values.includes(v as string | null);

const WHOLE = 'a whole number ≥ 1';
const POSITIVE = 'a number > 0';

/** What each key must be, and its value in a file that lacks it; a field without a third entry is required. */
const FIELDS: Readonly<Record<keyof LorsaConfigJson, Field>> = {
  sae_type: ['"lorsa"', oneOf('lorsa')],
  d_model: [WHOLE, whole],
  expansion_factor: [POSITIVE, positive],
  use_decoder_bias: ['a boolean', flag, true],
  act_fn: [
    'relu, jumprelu, topk or batchtopk',
    oneOf('relu', 'jumprelu', 'topk', 'batchtopk', 'signed-topk'),
    'relu',
  ],
  norm_activation: [
    'token-wise, batch-wise, dataset-wise or inference',
    oneOf('token-wise', 'batch-wise', 'dataset-wise', 'inference'),
    'dataset-wise',
  ],
  sparsity_include_decoder_norm: ['a boolean', flag, true],
  top_k: [WHOLE, whole, 50],
  use_triton_kernel: ['a boolean', flag, false],
  sparsity_threshold_for_triton_spmm_kernel: [POSITIVE, positive, 0.996],
  jumprelu_threshold_window: [POSITIVE, positive, 2],
  hook_point_in: ['a hook point', text],
  hook_point_out: ['a hook point', text],
  n_qk_heads: [WHOLE, whole],
  d_qk_head: [WHOLE, whole],
  positional_embedding_type: ['rotary or none', oneOf('rotary', 'none'), 'rotary'],
  rotary_dim: [WHOLE, whole],
  rotary_base: [POSITIVE, positive, 10000],
  rotary_adjacent_pairs: ['a boolean', flag, true],
  rotary_scale: [WHOLE, whole, 1],
  use_NTK_by_parts_rope: ['a boolean', flag, false],
  NTK_by_parts_factor: [POSITIVE, positive, 1],
  NTK_by_parts_low_freq_factor: [POSITIVE, positive, 1],
  NTK_by_parts_high_freq_factor: [POSITIVE, positive, 1],
  old_context_len: [WHOLE, whole, 2048],
  n_ctx: [WHOLE, whole],
  attn_scale: ['a divisor > 0 or null', (v) => v === null || positive(v), null],
  use_post_qk_ln: ['a boolean', flag, false],
  normalization_type: ['LN, RMS or null', oneOf('LN', 'RMS', null), null],
  eps: [POSITIVE, positive, 1e-6],
};

/** Number of rank-one heads: F = int(d_model · expansion_factor). */
export function ovHeadsOf(config: LorsaConfigJson): number {
  return Math.floor(config.d_model * config.expansion_factor);
}

/**
 * The factor that makes `int(d_model · factor)` exactly `n_ov_heads`: the quotient, one unit in the last place up where
 * the product would round below.
 */
export function expansionFactor(d_model: number, n_ov_heads: number): number {
  const quotient = n_ov_heads / d_model;
  const factor =
    Math.floor(d_model * quotient) < n_ov_heads ? quotient * (1 + Number.EPSILON) : quotient;
  assert(Math.floor(d_model * factor) === n_ov_heads, () => `${n_ov_heads} of ${d_model}`);
  return factor;
}

/**
 * Reads `config.json` strictly: every known key must have its type, required ones must be there; unknown keys are
 * ignored, as the reference does, and listed; so are those that it lacks and the reference's defaults stand for.
 * Errors: `invalid_argument` naming file, key and what was expected.
 */
export function readLorsaConfigJson(
  file: string,
  source: string,
): {
  readonly config: LorsaConfigJson;
  readonly unknownKeys: readonly string[];
  readonly missingKeys: readonly string[];
} {
  const refuse = (message: string, field?: string) =>
    invalidArgument(`${file}: ${message}`, {
      ...(field === undefined ? {} : { field }),
      details: { file },
    });
  if (source.length > CONFIG_BYTES_MAX) {
    throw refuse(`${source.length} characters are more than ${CONFIG_BYTES_MAX}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch {
    throw refuse('not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw refuse('not a JSON object');
  }
  const given = json as Record<string, unknown>;
  const config: Record<string, unknown> = {};
  for (const [key, [expected, check, fallback]] of Object.entries(FIELDS)) {
    const present = Object.hasOwn(given, key);
    if (!present && fallback === undefined) throw refuse(`${key} is missing`, key);
    const value = present ? given[key] : fallback;
    if (!check(value)) {
      throw refuse(`${key} is ${shown(value)}, not ${expected}`, key);
    }
    config[key] = value;
  }
  const known = new Set(Object.keys(FIELDS));
  return {
    config: consistent(config as unknown as LorsaConfigJson, refuse),
    unknownKeys: Object.keys(given).filter((key) => !known.has(key)),
    missingKeys: [...known].filter((key) => !Object.hasOwn(given, key)),
  };
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').slice(0, 80);
}

/** What single keys cannot say. */
function consistent(
  config: LorsaConfigJson,
  refuse: (message: string, field: string) => Error,
): LorsaConfigJson {
  const heads = ovHeadsOf(config);
  if (heads < 1 || heads % config.n_qk_heads !== 0) {
    throw refuse(
      `${heads} heads (d_model · expansion_factor) are no multiple of n_qk_heads ${config.n_qk_heads}`,
      'n_qk_heads',
    );
  }
  if (config.hook_point_in === config.hook_point_out) {
    throw refuse('hook_point_in and hook_point_out are the same', 'hook_point_out');
  }
  if (config.use_post_qk_ln && config.normalization_type !== 'RMS') {
    throw refuse(
      `normalization_type ${config.normalization_type} with use_post_qk_ln; only RMS exists`,
      'normalization_type',
    );
  }
  if (config.rotary_scale !== 1) {
    throw refuse(`rotary_scale ${config.rotary_scale} is not supported, only 1`, 'rotary_scale');
  }
  if (
    config.positional_embedding_type === 'rotary' &&
    (config.rotary_dim % 2 !== 0 || config.rotary_dim > config.d_qk_head)
  ) {
    throw refuse(
      `rotary_dim ${config.rotary_dim} is not even and within d_qk_head ${config.d_qk_head}`,
      'rotary_dim',
    );
  }
  return config;
}

/** `config.json` as the reference writes it: these keys in this order, indented by four. */
export function writeLorsaConfigJson(config: LorsaConfigJson): string {
  const ordered = Object.keys(FIELDS).map((key) => [key, config[key as keyof LorsaConfigJson]]);
  return JSON.stringify(Object.fromEntries(ordered), null, 4);
}
