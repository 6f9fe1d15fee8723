import type { ModelConfig } from '../config/model-config.ts';

/** How a matrix lies in the file: Conv1D of GPT-2 has a row per input, PyTorch's Linear a row per output. */
export type Layout = 'in_out' | 'out_in' | 'vector' | 'table';

/** One tensor that a model needs: the role it plays, where it may be found, and its shape. */
export interface WeightSpec {
  /** `W_E`, `blocks.3.attn.qkv.W`, `ln_final.b` …: the same for every family. */
  readonly role: string;
  /** Names in a checkpoint, tried in order. */
  readonly names: readonly string[];
  readonly shape: readonly number[];
  readonly layout: Layout;
}

/**
 * *Every tensor of a model*, in forward order. Fused projections keep their one tensor: GPT-2's `c_attn` is q, k, v side by side
 * along its outputs; GPT-NeoX's `query_key_value` is `[head, 3, d_head]` along its outputs.
 */
export function weightSpecs(config: ModelConfig): readonly WeightSpec[] {
  if (config.family === 'gpt2') return gpt2(config);
  return config.family === 'gpt_neox' ? gptNeox(config) : llamaLike(config);
}

/** Buffers that old checkpoints carry and that hold nothing: causal masks and rotary tables that follow from the config. */
export function isBuffer(name: string): boolean {
  return /(?:^|\.)(?:attn|attention)\.(?:bias|masked_bias)$|rotary_emb\.(?:inv_freq|cos_cached|sin_cached)$/.test(
    name,
  );
}

const matrix = (
  role: string,
  names: readonly string[],
  shape: readonly number[],
  layout: Layout,
) => ({
  role: `${role}.W`,
  names: names.map((name) => `${name}.weight`),
  shape,
  layout,
});
const vector = (
  role: string,
  names: readonly string[],
  part: 'weight' | 'bias',
  width: number,
) => ({
  role: `${role}.${part === 'weight' ? 'w' : 'b'}`,
  names: names.map((name) => `${name}.${part}`),
  shape: [width],
  layout: 'vector' as const,
});
const table = (role: string, names: readonly string[], shape: readonly number[]): WeightSpec => ({
  role,
  names: names.map((name) => `${name}.weight`),
  shape,
  layout: 'table',
});

/** Weight, a row per input, and bias of one projection. */
function conv1d(role: string, names: readonly string[], from: number, to: number): WeightSpec[] {
  return [matrix(role, names, [from, to], 'in_out'), vector(role, names, 'bias', to)];
}

/** Weight, a row per output, of one projection, and its bias where there is one. */
function linear(
  role: string,
  names: readonly string[],
  { from, to, bias }: { from: number; to: number; bias: boolean },
): WeightSpec[] {
  const W = matrix(role, names, [to, from], 'out_in');
  return bias ? [W, vector(role, names, 'bias', to)] : [W];
}

function layerNorm(role: string, names: readonly string[], width: number): WeightSpec[] {
  return [vector(role, names, 'weight', width), vector(role, names, 'bias', width)];
}

/** Files saved from the bare model lack the prefix of the language model. */
const under = (prefix: string) => (name: string) => [`${prefix}.${name}`, name];

function gpt2(config: ModelConfig): readonly WeightSpec[] {
  const { n_layers, d_model, d_mlp, d_vocab, n_ctx, tiedEmbeddings } = config;
  const at = under('transformer');
  const specs = [
    table('W_E', at('wte'), [d_vocab, d_model]),
    table('W_pos', at('wpe'), [n_ctx, d_model]),
  ];
  for (let layer = 0; layer < n_layers; layer++) {
    const [to, from] = [`blocks.${layer}`, `h.${layer}`];
    specs.push(
      ...layerNorm(`${to}.ln1`, at(`${from}.ln_1`), d_model),
      ...conv1d(`${to}.attn.qkv`, at(`${from}.attn.c_attn`), d_model, 3 * d_model),
      ...conv1d(`${to}.attn.O`, at(`${from}.attn.c_proj`), d_model, d_model),
      ...layerNorm(`${to}.ln2`, at(`${from}.ln_2`), d_model),
      ...conv1d(`${to}.mlp.in`, at(`${from}.mlp.c_fc`), d_model, d_mlp),
      ...conv1d(`${to}.mlp.out`, at(`${from}.mlp.c_proj`), d_mlp, d_model),
    );
  }
  specs.push(...layerNorm('ln_final', at('ln_f'), d_model));
  if (!tiedEmbeddings) specs.push(table('W_U', ['lm_head'], [d_vocab, d_model]));
  return specs;
}

function gptNeox(config: ModelConfig): readonly WeightSpec[] {
  const { n_layers, d_model, d_mlp, d_vocab, biases, tiedEmbeddings } = config;
  const at = under('gpt_neox');
  const specs = [table('W_E', at('embed_in'), [d_vocab, d_model])];
  for (let layer = 0; layer < n_layers; layer++) {
    const [to, from] = [`blocks.${layer}`, `layers.${layer}`];
    const sizes = { from: d_model, to: d_model };
    specs.push(
      ...layerNorm(`${to}.ln1`, at(`${from}.input_layernorm`), d_model),
      ...linear(`${to}.attn.qkv`, at(`${from}.attention.query_key_value`), {
        from: d_model,
        to: 3 * d_model,
        bias: biases.qkv,
      }),
      ...linear(`${to}.attn.O`, at(`${from}.attention.dense`), { ...sizes, bias: biases.out }),
      ...layerNorm(`${to}.ln2`, at(`${from}.post_attention_layernorm`), d_model),
      ...linear(`${to}.mlp.in`, at(`${from}.mlp.dense_h_to_4h`), {
        from: d_model,
        to: d_mlp,
        bias: true,
      }),
      ...linear(`${to}.mlp.out`, at(`${from}.mlp.dense_4h_to_h`), {
        from: d_mlp,
        to: d_model,
        bias: true,
      }),
    );
  }
  specs.push(...layerNorm('ln_final', at('final_layer_norm'), d_model));
  if (!tiedEmbeddings) specs.push(table('W_U', ['embed_out', 'lm_head'], [d_vocab, d_model]));
  return specs;
}

function llamaLike(config: ModelConfig): readonly WeightSpec[] {
  const { n_layers, d_model, d_vocab, tiedEmbeddings } = config;
  const at = under('model');
  const specs = [table('W_E', at('embed_tokens'), [d_vocab, d_model])];
  for (let layer = 0; layer < n_layers; layer++) specs.push(...llamaBlock(config, layer));
  specs.push(vector('ln_final', at('norm'), 'weight', d_model));
  if (!tiedEmbeddings) specs.push(table('W_U', ['lm_head'], [d_vocab, d_model]));
  return specs;
}

function llamaBlock(config: ModelConfig, layer: number): readonly WeightSpec[] {
  const { d_model, d_mlp, d_head, n_heads, n_key_value_heads, biases, qkNorm } = config;
  const [to, from] = [`blocks.${layer}`, `layers.${layer}`];
  const at = under('model');
  const [q, kv] = [n_heads * d_head, n_key_value_heads * d_head];
  const attn = (role: string, name: string, sizes: { from: number; to: number; bias: boolean }) =>
    linear(`${to}.attn.${role}`, at(`${from}.self_attn.${name}`), sizes);
  const mlp = (role: string, name: string, sizes: { from: number; to: number }) =>
    linear(`${to}.mlp.${role}`, at(`${from}.mlp.${name}`), { ...sizes, bias: biases.mlp });
  const gain = (role: string, name: string, width: number) =>
    vector(`${to}.${role}`, at(`${from}.${name}`), 'weight', width);
  return [
    gain('ln1', 'input_layernorm', d_model),
    ...attn('Q', 'q_proj', { from: d_model, to: q, bias: biases.qkv }),
    ...attn('K', 'k_proj', { from: d_model, to: kv, bias: biases.qkv }),
    ...attn('V', 'v_proj', { from: d_model, to: kv, bias: biases.qkv }),
    ...(qkNorm
      ? [
          gain('attn.q_norm', 'self_attn.q_norm', d_head),
          gain('attn.k_norm', 'self_attn.k_norm', d_head),
        ]
      : []),
    ...attn('O', 'o_proj', { from: q, to: d_model, bias: biases.out }),
    gain('ln2', 'post_attention_layernorm', d_model),
    ...mlp('gate', 'gate_proj', { from: d_model, to: d_mlp }),
    ...mlp('in', 'up_proj', { from: d_model, to: d_mlp }),
    ...mlp('out', 'down_proj', { from: d_mlp, to: d_model }),
  ];
}
