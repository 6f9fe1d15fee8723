import { invalidArgument } from '@heddle/core';
import { CONFIG_DEPTH_MAX, CONFIG_MAX } from '../limits.ts';
import { ConfigReader } from './config-reader.ts';
import type { FieldTable } from './field-table.ts';
import { GPT_NEOX_FIELDS } from './fields/gpt-neox.ts';
import { GPT2_FIELDS } from './fields/gpt2.ts';
import { LLAMA_FIELDS } from './fields/llama.ts';
import { QWEN2_FIELDS, QWEN3_FIELDS } from './fields/qwen.ts';
import { type Activation, FAMILIES, type Family, type ModelConfig } from './model-config.ts';
import { readRotary } from './rotary.ts';

/** One table per family; a test holds them against the fields of transformers' config classes. */
export const FIELD_TABLES: Readonly<Record<Family, FieldTable>> = {
  gpt2: GPT2_FIELDS,
  gpt_neox: GPT_NEOX_FIELDS,
  llama: LLAMA_FIELDS,
  qwen2: QWEN2_FIELDS,
  qwen3: QWEN3_FIELDS,
};

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh', // of GPT-NeoX-20B: the same formula, √(2/π) to ten digits
  gelu_pytorch_tanh: 'gelu_tanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
};

export interface ReadConfig {
  readonly config: ModelConfig;
  /** Fields that no table knows: shown to the user, because nobody else will. */
  readonly ignored: readonly string[];
}

/**
 * *A model's config from its config.json.* Everything in it that changes numbers is honoured, or refused by name.
 * Errors: `invalid_argument` with file, field and what was expected; an unknown `model_type` lists the known ones.
 */
export function readModelConfig(file: string, json: unknown): ReadConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw invalidArgument(`${file}: not a JSON object`, { field: 'model', details: { file } });
  }
  if (nestsDeeper(json, CONFIG_DEPTH_MAX)) {
    throw invalidArgument(`${file}: nests deeper than ${CONFIG_DEPTH_MAX} levels`, {
      field: 'model',
      details: { file, limit: CONFIG_DEPTH_MAX },
    });
  }
  const reader = new ConfigReader(file, json as Record<string, unknown>);
  const type = reader.raw('model_type');
  if (!FAMILIES.includes(type as Family)) {
    throw reader.wrong('model_type', `one of ${FAMILIES.join(', ')}`);
  }
  const family = type as Family;
  const ignored = reader.check(FIELD_TABLES[family]);
  return { config: READERS[family](reader), ignored };
}

/** Level by level, without recursion: comparing and printing values are recursive, and a deep one would end the stack. */
function nestsDeeper(json: unknown, levels: number): boolean {
  const isNested = (value: unknown) => typeof value === 'object' && value !== null;
  let level = [json];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > levels) return true;
    level = level.flatMap((value) => Object.values(value as object).filter(isNested));
  }
  return false;
}

const READERS: Readonly<Record<Family, (r: ConfigReader) => ModelConfig>> = {
  gpt2: readGpt2,
  gpt_neox: readGptNeox,
  llama: (r) => readLlamaLike(r, 'llama'),
  qwen2: (r) => readLlamaLike(r, 'qwen2'),
  qwen3: (r) => readLlamaLike(r, 'qwen3'),
};

const {
  layers,
  heads,
  d_model: widths,
  d_mlp: innerWidths,
  d_vocab: vocabularies,
  n_ctx: lengths,
} = CONFIG_MAX;

function readGpt2(r: ConfigReader): ModelConfig {
  const d_model = r.whole(r.sameUnder(['n_embd', 'hidden_size']), { max: widths, default: 768 });
  const headsField = r.sameUnder(['n_head', 'num_attention_heads']);
  const n_heads = r.whole(headsField, { max: heads, default: 12 });
  const layersField = r.sameUnder(['n_layer', 'num_hidden_layers']);
  const n_layers = r.whole(layersField, { max: layers, default: 12 });
  const n_ctxField = r.sameUnder(['n_positions', 'max_position_embeddings']);
  const d_head = headWidth(r, d_model, n_heads, headsField);
  const root = r.flag('scale_attn_weights', true) ? Math.sqrt(d_head) : 1;
  const byLayer = r.flag('scale_attn_by_inverse_layer_idx', false);
  const d_vocab = r.whole('vocab_size', { max: vocabularies, default: 50_257 });
  return {
    family: 'gpt2',
    n_layers,
    n_heads,
    n_key_value_heads: n_heads,
    d_model,
    d_head,
    d_mlp: r.whole('n_inner', { max: innerWidths, default: 4 * d_model }),
    d_vocab,
    n_ctx: r.whole(n_ctxField, { max: lengths, default: 1024 }),
    norm: { kind: 'layer', epsilon: r.positive('layer_norm_epsilon', 1e-5) },
    positions: { kind: 'learned' },
    mlp: { gated: false, activation: r.choice('activation_function', ACTIVATIONS, 'gelu_new') },
    attn_scale: Array.from({ length: n_layers }, (_, layer) => root * (byLayer ? layer + 1 : 1)),
    biases: { qkv: true, out: true, mlp: true },
    qkNorm: false,
    parallelResidual: false,
    tiedEmbeddings: r.flag('tie_word_embeddings', true),
    ...specialTokens(r, { bos: 50_256, eos: 50_256 }, d_vocab),
  };
}

function readGptNeox(r: ConfigReader): ModelConfig {
  const sizes = commonSizes(r, { d_model: 6144, n_layers: 44, n_heads: 64, d_mlp: 24_576 });
  const d_head = headWidth(r, sizes.d_model, sizes.n_heads, 'num_attention_heads');
  const bias = r.flag('attention_bias', true);
  const d_vocab = r.whole('vocab_size', { max: vocabularies, default: 50_432 });
  return {
    family: 'gpt_neox',
    ...sizes,
    n_key_value_heads: sizes.n_heads,
    d_head,
    d_vocab,
    norm: { kind: 'layer', epsilon: r.positive('layer_norm_eps', 1e-5) },
    positions: readRotary(r, {
      d_head,
      n_ctx: sizes.n_ctx,
      thetaFields: ['rotary_emb_base', 'rope_theta'],
      partial: { fields: ['rotary_pct', 'partial_rotary_factor'], standard: 0.25 },
    }),
    mlp: { gated: false, activation: r.choice('hidden_act', ACTIVATIONS, 'gelu') },
    attn_scale: new Array<number>(sizes.n_layers).fill(Math.sqrt(d_head)),
    biases: { qkv: bias, out: bias, mlp: true },
    qkNorm: false,
    parallelResidual: r.flag('use_parallel_residual', true),
    tiedEmbeddings: r.flag('tie_word_embeddings', false),
    ...specialTokens(r, { bos: 0, eos: 2 }, d_vocab),
  };
}

function readLlamaLike(r: ConfigReader, family: 'llama' | 'qwen2' | 'qwen3'): ModelConfig {
  const qwen = family !== 'llama';
  const standard = qwen ? { d_mlp: 22_016, n_ctx: 32_768 } : { d_mlp: 11_008, n_ctx: 2048 };
  const sizes = commonSizes(r, { d_model: 4096, n_layers: 32, n_heads: 32, ...standard });
  const { n_heads, n_layers } = sizes;
  const d_head = llamaHeadWidth(r, family, sizes);
  // Qwen's config classes have a default of 32 for an absent field; null means n_heads everywhere.
  const shared = qwen && r.absent('num_key_value_heads') ? 32 : n_heads;
  const n_key_value_heads = r.whole('num_key_value_heads', { max: heads, default: shared });
  if (n_heads % n_key_value_heads !== 0) {
    throw r.wrong('num_key_value_heads', `a divisor of num_attention_heads (${n_heads})`);
  }
  if (qwen) refuseSlidingWindows(r, n_layers);
  const bias = family === 'qwen2' ? false : r.flag('attention_bias', false);
  const d_vocab = r.whole('vocab_size', { max: vocabularies, default: qwen ? 151_936 : 32_000 });
  return {
    family,
    ...sizes,
    n_key_value_heads,
    d_head,
    d_vocab,
    norm: { kind: 'rms', epsilon: r.positive('rms_norm_eps', 1e-6) },
    positions: readRotary(r, {
      d_head,
      n_ctx: sizes.n_ctx,
      thetaFields: ['rope_theta'],
      partial: undefined,
    }),
    mlp: { gated: true, activation: r.choice('hidden_act', ACTIVATIONS, 'silu') },
    attn_scale: new Array<number>(n_layers).fill(Math.sqrt(d_head)),
    biases: {
      qkv: family === 'qwen2' || bias,
      out: bias,
      mlp: family === 'llama' && r.flag('mlp_bias', false),
    },
    qkNorm: family === 'qwen3',
    parallelResidual: false,
    tiedEmbeddings: r.flag('tie_word_embeddings', false),
    ...specialTokens(r, qwen ? {} : { bos: 1, eos: 2 }, d_vocab),
  };
}

type Sizes = Pick<ModelConfig, 'd_model' | 'n_layers' | 'n_heads' | 'd_mlp' | 'n_ctx'>;

function commonSizes(r: ConfigReader, standard: Omit<Sizes, 'n_ctx'> & { n_ctx?: number }): Sizes {
  return {
    d_model: r.whole('hidden_size', { max: widths, default: standard.d_model }),
    n_layers: r.whole('num_hidden_layers', { max: layers, default: standard.n_layers }),
    n_heads: r.whole('num_attention_heads', { max: heads, default: standard.n_heads }),
    d_mlp: r.whole('intermediate_size', { max: innerWidths, default: standard.d_mlp }),
    n_ctx: r.whole('max_position_embeddings', { max: lengths, default: standard.n_ctx ?? 2048 }),
  };
}

function llamaHeadWidth(r: ConfigReader, family: Family, { d_model, n_heads }: Sizes): number {
  // Qwen3Config's default is 128 where the field is absent; an explicit null is a config that transformers refuses.
  if (family === 'qwen3') return r.whole('head_dim', { max: widths, default: 128 });
  if (r.raw('head_dim') !== undefined) return r.whole('head_dim', { max: widths });
  return headWidth(r, d_model, n_heads, 'num_attention_heads');
}

function headWidth(r: ConfigReader, d_model: number, n_heads: number, field: string): number {
  if (d_model % n_heads === 0) return d_model / n_heads;
  throw r.wrong(field, `a divisor of the hidden size (${d_model})`);
}

function refuseSlidingWindows(r: ConfigReader, n_layers: number): void {
  const types = r.raw('layer_types');
  if (types !== undefined) {
    const full = Array.isArray(types) && types.length === n_layers;
    if (!full || !types.every((type) => type === 'full_attention')) {
      throw r.wrong('layer_types', `${n_layers} times "full_attention"`);
    }
    return;
  }
  if (!r.flag('use_sliding_window', false)) return;
  const first = r.whole('max_window_layers', { min: 0, max: layers * 2, default: 28 });
  const width = r.absent('sliding_window') ? 4096 : r.raw('sliding_window');
  if (width !== undefined && first < n_layers) {
    throw r.wrong('use_sliding_window', 'false (sliding windows are not computed)');
  }
}

/** Ids of the class where the file has none, unless the vocabulary ends before them. */
function specialTokens(
  r: ConfigReader,
  standard: { bos?: number; eos?: number },
  d_vocab: number,
): Pick<ModelConfig, 'bosTokenId' | 'eosTokenIds'> {
  const id = (value: unknown) => typeof value === 'number' && Number.isInteger(value) && value >= 0;
  const inside = (value: number | undefined) =>
    value !== undefined && value < d_vocab ? value : undefined;
  const bos = r.absent('bos_token_id') ? inside(standard.bos) : r.raw('bos_token_id');
  const eos = r.absent('eos_token_id') ? inside(standard.eos) : r.raw('eos_token_id');
  if (bos !== undefined && !id(bos)) throw r.wrong('bos_token_id', 'a token id or null');
  const eosTokenIds = eos === undefined ? [] : Array.isArray(eos) ? eos : [eos];
  if (!eosTokenIds.every(id)) throw r.wrong('eos_token_id', 'token ids or null');
  return { bosTokenId: bos as number | undefined, eosTokenIds: eosTokenIds as number[] };
}
