import { invalidArgument } from '@heddle/core';
import {
  LORSA_CONFIG_FILE,
  type LorsaConfigJson,
  lorsaTensorShapes,
  readLorsaConfigJson,
  type Safetensors,
} from '@heddle/formats';
import { rotaryTablesOf } from '@heddle/interp/lorsa';
import { showShape, type Tensor, tensor } from '@heddle/tensor';
import type { CheckpointFiles } from '../checkpoint-files.ts';
import { N_CTX_MAX } from './limits.ts';

/** Something about a file that was decided for the user, and is recorded with the import. */
export interface Decision {
  readonly what:
    | 'unknown-keys'
    | 'missing-keys'
    | 'missing-buffers'
    | 'missing-norms'
    | 'repeated-heads'
    | 'reading'
    | 'before-gain'
    | 'other-host'
    | 'poor-fit';
  readonly text: string;
}

/** A checkpoint as its file has it, with what a strict reader asks for and the file lacks. */
export interface CompletedCheckpoint {
  readonly config: LorsaConfigJson;
  /** Every tensor and buffer, in the file's own dtype and bytes. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly decisions: readonly Decision[];
}

export const NORM_PREFIX = 'dataset_average_activation_norm.';
const PER_QK_HEAD = ['W_Q', 'W_K', 'b_Q', 'b_K', 'ln_q.w', 'ln_k.w'];
const ROTARY = ['rotary_sin', 'rotary_cos'];

/**
 * What a file lacks and its config determines is put in, and each such step is said: causal mask, IGNORE and rotary tables
 * that the writer left out; query-key heads fewer than the config's, repeated in a row as the reference does; norms
 * that are not there. Whether the result is a layer is the strict reader's question. Errors: `invalid_argument`
 * naming a parameter that is missing or a number of heads that cannot be repeated.
 */
export function completed({ configText, weights }: CheckpointFiles): CompletedCheckpoint {
  const { config, unknownKeys, missingKeys } = readLorsaConfigJson(LORSA_CONFIG_FILE, configText);
  const decisions: Decision[] = [];
  if (unknownKeys.length > 0) {
    const text = `${LORSA_CONFIG_FILE} has keys that the format does not know; they are ignored: ${unknownKeys.join(', ')}`;
    decisions.push({ what: 'unknown-keys', text });
  }
  if (missingKeys.length > 0) {
    const taken = missingKeys.map((key) => `${key} ${config[key as keyof LorsaConfigJson]}`);
    const text = `${LORSA_CONFIG_FILE} lacks keys; the format's defaults are taken: ${taken.join(', ')}`;
    decisions.push({ what: 'missing-keys', text });
  }
  if (config.n_ctx > N_CTX_MAX) {
    throw invalidArgument(`n_ctx is ${config.n_ctx}; at most ${N_CTX_MAX} is taken`, {
      field: 'checkpoint',
      details: { limit: N_CTX_MAX },
    });
  }
  requireParameters(config, weights);
  const stored = Object.fromEntries(weights.names().map((name) => [name, weights.tensor(name)]));
  const tensors = {
    ...withRepeatedHeads(config, stored, decisions),
    ...missingBuffers(config, stored, decisions),
    ...missingNorms(config, stored, decisions),
  };
  return { config, tensors, decisions };
}

function requireParameters(config: LorsaConfigJson, weights: Safetensors): void {
  const there = new Set(weights.names());
  const missing = Object.keys(lorsaTensorShapes(config)).filter(
    (name) => !there.has(name) && !ROTARY.includes(name),
  );
  if (missing.length === 0) return;
  throw invalidArgument(
    `${weights.header.file} lacks ${missing.join(', ')}: a checkpoint without its weights cannot be completed`,
    { field: 'checkpoint', details: { tensor: missing[0] ?? '' } },
  );
}

type Tensors = Readonly<Record<string, Tensor>>;

function withRepeatedHeads(
  config: LorsaConfigJson,
  stored: Tensors,
  decisions: Decision[],
): Tensors {
  const heads = stored['W_Q']?.shape[0] ?? 0;
  const { n_qk_heads } = config;
  if (heads === n_qk_heads || heads < 1) return stored;
  const repeats = n_qk_heads / heads;
  if (!Number.isInteger(repeats)) {
    throw invalidArgument(
      `W_Q has ${heads} heads, which do not divide the config's n_qk_heads ${n_qk_heads}`,
      { field: 'checkpoint', details: { tensor: 'W_Q' } },
    );
  }
  const text = `the file has ${heads} query-key heads and the config ${n_qk_heads}: each is repeated ${repeats} times in a row, as the reference does`;
  decisions.push({ what: 'repeated-heads', text });
  return Object.fromEntries(
    Object.entries(stored).map(([name, t]) => [
      name,
      PER_QK_HEAD.includes(name) && t.shape[0] === heads ? repeatedRows(t, repeats) : t,
    ]),
  );
}

/** Each row of the first axis `repeats` times in a row, in the tensor's own dtype. */
function repeatedRows(t: Tensor, repeats: number): Tensor {
  const [rows = 0, ...rest] = t.shape;
  const width = t.data.length / rows;
  const Data = t.data.constructor as new (length: number) => Float32Array;
  const data = new Data(t.data.length * repeats);
  for (let row = 0; row < rows * repeats; row++) {
    const from = Math.floor(row / repeats) * width;
    data.set(t.data.subarray(from, from + width) as Float32Array, row * width);
  }
  return { ...t, shape: [rows * repeats, ...rest], data } as unknown as Tensor;
}

/** What the config alone determines. */
function missingBuffers(config: LorsaConfigJson, stored: Tensors, decisions: Decision[]): Tensors {
  const { n_ctx } = config;
  const derived: Record<string, Tensor> = {};
  if (!stored['mask']) derived['mask'] = causalMask(n_ctx);
  if (!stored['IGNORE']) {
    derived['IGNORE'] = tensor('f32', [], Float32Array.of(Number.NEGATIVE_INFINITY));
  }
  for (const [name, table] of Object.entries(rotaryTablesOf(config))) {
    if (!stored[name]) derived[name] = table;
  }
  const names = Object.keys(derived);
  if (names.length > 0) {
    const shapes = names.map((name) => `${name} ${showShape(derived[name]?.shape ?? [])}`);
    const text = `buffers that a strict reader demands are missing; made from the config: ${shapes.join(', ')}`;
    decisions.push({ what: 'missing-buffers', text });
  }
  return derived;
}

function causalMask(n_ctx: number): Tensor {
  const mask = new Uint8Array(n_ctx * n_ctx);
  for (let row = 0; row < n_ctx; row++) mask.fill(1, row * n_ctx, row * n_ctx + row + 1);
  return tensor('bool', [n_ctx, n_ctx], mask);
}

function missingNorms(config: LorsaConfigJson, stored: Tensors, decisions: Decision[]): Tensors {
  const names = [config.hook_point_in, config.hook_point_out].map((hook) => NORM_PREFIX + hook);
  const missing = names.filter((name) => !stored[name]);
  if (missing.length === 0) return {};
  const text = `the file has no ${missing.join(', ')}: taken as never measured`;
  decisions.push({ what: 'missing-norms', text });
  const never = tensor('f32', [], Float32Array.of(Number.NaN));
  return Object.fromEntries(missing.map((name) => [name, never]));
}
