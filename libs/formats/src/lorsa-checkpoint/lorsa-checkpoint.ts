import { assert, invalidArgument, type OperationError } from '@heddle/core';
import { showShape, type Tensor, tensor, widenBf16, widenF16 } from '@heddle/tensor';
import type { Safetensors } from '../safetensors/read-safetensors.ts';
import { writeSafetensors } from '../safetensors/write-safetensors.ts';
import { CONTEXT_MAX, REPEATED_ELEMENTS_MAX } from './limits.ts';
import {
  type LorsaConfigJson,
  ovHeadsOf,
  readLorsaConfigJson,
  writeLorsaConfigJson,
} from './lorsa-config-json.ts';

/** File names inside a checkpoint's folder. */
export const LORSA_CONFIG_FILE = 'config.json';
export const LORSA_WEIGHTS_FILE = 'sae_weights.safetensors';

/** A published Lorsa checkpoint: its config and its numbers in fp32 (halves widened exactly). */
export interface LorsaCheckpoint {
  readonly config: LorsaConfigJson;
  /** Parameters and rotary tables under their names in the file; `mask` and `IGNORE` are checked, then dropped. */
  readonly tensors: Readonly<Record<string, Tensor<'f32'>>>;
  /** Mean norms by hook point: measured ones only, so always present under `dataset-wise` and never trusted elsewhere. */
  readonly averageNorms: Readonly<Record<string, number>>;
  /** Keys of config.json that the format does not know. */
  readonly unknownKeys: readonly string[];
  /** `__metadata__` of the file. */
  readonly metadata: ReadonlyMap<string, string>;
}

const NORM_PREFIX = 'dataset_average_activation_norm.';

/** Name → shape of every tensor whose numbers the layer uses. `[Q, d, h]` and so on as formats.md lists them. */
export function lorsaTensorShapes(
  config: LorsaConfigJson,
): Readonly<Record<string, readonly number[]>> {
  const { d_model: d, n_qk_heads: q, d_qk_head: h, n_ctx } = config;
  const heads = ovHeadsOf(config);
  return {
    W_Q: [q, d, h],
    W_K: [q, d, h],
    b_Q: [q, h],
    b_K: [q, h],
    W_V: [heads, d],
    b_V: [heads],
    W_O: [heads, d],
    ...(config.use_decoder_bias ? { b_D: [d] } : {}),
    ...(config.use_post_qk_ln ? { 'ln_q.w': [q, h], 'ln_k.w': [q, h] } : {}),
    ...(config.act_fn === 'jumprelu'
      ? { 'activation_function.log_jumprelu_threshold': [heads] }
      : {}),
    ...(config.positional_embedding_type === 'rotary'
      ? { rotary_sin: [n_ctx, config.rotary_dim], rotary_cos: [n_ctx, config.rotary_dim] }
      : {}),
  };
}

/**
 * Reads a checkpoint as strictly as the reference loads one: every tensor and buffer present with its shape, none
 * besides, and also finite. Fewer query-key heads in the file than in the config are repeated in a row, as the
 * reference does. Errors: `invalid_argument` naming file, tensor and what was expected.
 */
export function readLorsaCheckpoint(configText: string, weights: Safetensors): LorsaCheckpoint {
  const { file } = weights.header;
  const { config, unknownKeys } = readLorsaConfigJson(LORSA_CONFIG_FILE, configText);
  const refuse = (message: string, name?: string): OperationError =>
    invalidArgument(`${file}: ${message}`, {
      details: { file, ...(name === undefined ? {} : { tensor: name }) },
    });
  if (config.n_ctx > CONTEXT_MAX) throw refuse(`n_ctx ${config.n_ctx} is more than ${CONTEXT_MAX}`);

  const shapes = lorsaTensorShapes(config);
  const expected = new Set([
    ...Object.keys(shapes),
    'mask',
    'IGNORE',
    NORM_PREFIX + config.hook_point_in,
    NORM_PREFIX + config.hook_point_out,
  ]);
  const extra = weights.names().find((name) => !expected.has(name));
  if (extra !== undefined) throw refuse(`tensor ${extra} does not belong to this config`, extra);
  const take = (name: string): Tensor => {
    if (!weights.header.tensors.has(name)) throw refuse(`tensor ${name} is missing`, name);
    return weights.tensor(name);
  };

  checkBuffers(config, take, refuse);
  const repeats = headRepeats(config, take('W_Q'), refuse);
  const tensors: Record<string, Tensor<'f32'>> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const stored = widened(name, take(name), refuse);
    const perHead = ['W_Q', 'W_K', 'b_Q', 'b_K', 'ln_q.w', 'ln_k.w'].includes(name);
    const fits = stored.shape.length === shape.length;
    const read = perHead && fits ? repeatRows(stored, repeats) : stored;
    if (showShape(read.shape) !== showShape(shape)) {
      throw refuse(`tensor ${name} is ${showShape(read.shape)}, not ${showShape(shape)}`, name);
    }
    const bad = read.data.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw refuse(`tensor ${name} holds ${read.data[bad]} at ${bad}`, name);
    tensors[name] = read;
  }
  return {
    config,
    tensors,
    averageNorms: averageNorms(config, weights, refuse),
    unknownKeys,
    metadata: weights.header.metadata,
  };
}

type Refuse = (message: string, name?: string) => OperationError;

/** `mask` must be the lower triangle and `IGNORE` −∞: anything else is not the layer that the config describes. */
function checkBuffers(
  config: LorsaConfigJson,
  take: (name: string) => Tensor,
  refuse: Refuse,
): void {
  const { n_ctx } = config;
  const mask = take('mask');
  if (mask.dtype !== 'bool' || showShape(mask.shape) !== showShape([n_ctx, n_ctx])) {
    throw refuse(
      `mask is ${mask.dtype} ${showShape(mask.shape)}, not bool ${showShape([n_ctx, n_ctx])}`,
      'mask',
    );
  }
  for (let row = 0; row < n_ctx; row++) {
    for (let column = 0; column < n_ctx; column++) {
      if (mask.data[row * n_ctx + column] !== (column <= row ? 1 : 0)) {
        throw refuse(`mask is not causal at row ${row}, column ${column}`, 'mask');
      }
    }
  }
  const ignore = widened('IGNORE', take('IGNORE'), refuse);
  if (ignore.data.length !== 1 || ignore.data[0] !== Number.NEGATIVE_INFINITY) {
    throw refuse('IGNORE is not −inf', 'IGNORE');
  }
}

function headRepeats(config: LorsaConfigJson, W_Q: Tensor, refuse: Refuse): number {
  const stored = W_Q.shape[0] ?? 0;
  const repeats = stored > 0 ? config.n_qk_heads / stored : Number.NaN;
  if (W_Q.data.length * repeats > REPEATED_ELEMENTS_MAX) {
    throw refuse(
      `n_qk_heads ${config.n_qk_heads} would repeat W_Q to more elements than are taken`,
    );
  }
  if (!Number.isInteger(repeats)) {
    throw refuse(
      `W_Q has ${stored} heads, which do not divide n_qk_heads ${config.n_qk_heads}`,
      'W_Q',
    );
  }
  return repeats;
}

/** Each row of the first axis `repeats` times in a row (`repeat_interleave`). */
function repeatRows(t: Tensor<'f32'>, repeats: number): Tensor<'f32'> {
  if (repeats === 1) return t;
  const [rows = 0, ...rest] = t.shape;
  const width = t.data.length / rows;
  const data = new Float32Array(t.data.length * repeats);
  for (let row = 0; row < rows * repeats; row++) {
    const from = Math.floor(row / repeats) * width;
    data.set(t.data.subarray(from, from + width), row * width);
  }
  return tensor('f32', [rows * repeats, ...rest], data);
}

function widened(name: string, t: Tensor, refuse: Refuse): Tensor<'f32'> {
  switch (t.dtype) {
    case 'f32':
      return t as Tensor<'f32'>;
    case 'f16':
      return tensor('f32', t.shape, widenF16(t.data as Uint16Array));
    case 'bf16':
      return tensor('f32', t.shape, widenBf16(t.data as Uint16Array));
    default:
      throw refuse(`tensor ${name} has dtype ${t.dtype}; F32, F16 or BF16 expected`, name);
  }
}

/** The reference writes uninitialised memory here when nothing was measured: read only where the config uses it. */
function averageNorms(
  config: LorsaConfigJson,
  weights: Safetensors,
  refuse: Refuse,
): Readonly<Record<string, number>> {
  if (config.norm_activation !== 'dataset-wise') return {};
  const norms: Record<string, number> = {};
  for (const hook of [config.hook_point_in, config.hook_point_out]) {
    const name = NORM_PREFIX + hook;
    if (!weights.header.tensors.has(name)) {
      throw refuse(`norm_activation is dataset-wise, but ${name} is missing`, name);
    }
    const value = widened(name, weights.tensor(name), refuse).data[0] ?? Number.NaN;
    if (!(value > 0 && Number.isFinite(value))) {
      throw refuse(`${name} is ${value}: it was never measured`, name);
    }
    norms[hook] = value;
  }
  return norms;
}

/** What a checkpoint is written from. */
export interface LorsaCheckpointParts {
  readonly config: LorsaConfigJson;
  readonly tensors: Readonly<Record<string, Tensor<'f32'>>>;
  readonly averageNorms: Readonly<Record<string, number>>;
  /** Goes beside `version` into `__metadata__`. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A checkpoint's two files: every tensor and buffer that the reference's strict loader demands. Norms that were not
 * measured are written as NaN, so that nobody can trust them. Asserts names and shapes.
 */
export function writeLorsaCheckpoint(parts: LorsaCheckpointParts): {
  readonly configText: string;
  readonly weights: Uint8Array;
} {
  const { config } = parts;
  const { n_ctx } = config;
  const shapes = lorsaTensorShapes(config);
  for (const [name, shape] of Object.entries(shapes)) {
    const given = parts.tensors[name];
    assert(given, () => `${name} is missing`);
    assert(
      showShape(given.shape) === showShape(shape),
      () => `${name} is ${showShape(given.shape)}, not ${showShape(shape)}`,
    );
  }
  for (const name of Object.keys(parts.tensors))
    assert(name in shapes, () => `${name} is too many`);
  const mask = Uint8Array.from({ length: n_ctx * n_ctx }, (_, at) =>
    at % n_ctx <= Math.floor(at / n_ctx) ? 1 : 0,
  );
  const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
  const hooks = [config.hook_point_in, config.hook_point_out];
  const norms = hooks.map((hook) => [
    NORM_PREFIX + hook,
    scalar(parts.averageNorms[hook] ?? Number.NaN),
  ]);
  const configText = writeLorsaConfigJson(config);
  const weights = writeSafetensors(
    {
      ...parts.tensors,
      mask: tensor('bool', [n_ctx, n_ctx], mask),
      IGNORE: scalar(Number.NEGATIVE_INFINITY),
      ...Object.fromEntries(norms),
    },
    { version: '2.0.0', ...parts.metadata },
  );
  return { configText, weights };
}
