import type { ModelConfig } from '../config/model-config.ts';

/** A hook point of any block. */
export interface PointTemplate {
  readonly name: string;
  readonly axes: readonly string[];
  readonly definition: string;
  readonly aliases: readonly string[];
  /** Why this model has no such point; undefined where it has. */
  readonly lacking: string | undefined;
}

type Row = readonly [name: string, axes: string, definition: string, ...aliases: string[]];

/** *The points of one block*, in forward order, with those that the model lacks and why. */
export function blockPoints(config: ModelConfig): readonly PointTemplate[] {
  const lacking = lackings(config);
  return rows(config).map(([name, axes, definition, ...aliases]) => ({
    name,
    axes: axes.split(' '),
    definition,
    aliases,
    lacking: lacking[name],
  }));
}

function lackings(config: ModelConfig): Readonly<Record<string, string>> {
  const out: Record<string, string> = {};
  if (config.parallelResidual) {
    out['hook_resid_mid'] = 'MLP and attention both read resid_pre, so nothing stands between them';
  }
  if (config.positions.kind === 'learned') {
    const why = 'it adds a position embedding (hook_pos_embed) and turns nothing';
    out['attn.hook_rot_q'] = why;
    out['attn.hook_rot_k'] = why;
  }
  if (!config.qkNorm) {
    const why = 'queries and keys are not normalised (Qwen3 does that)';
    out['attn.q_norm.hook_normalized'] = why;
    out['attn.k_norm.hook_normalized'] = why;
  }
  if (!config.mlp.gated) out['mlp.hook_pre_linear'] = 'its MLP has no gate';
  return out;
}

function rows(config: ModelConfig): readonly Row[] {
  return [...attentionRows(config), ...mlpRows(config)];
}

function normRows(config: ModelConfig, name: string, of: string): readonly Row[] {
  const layer = config.norm.kind === 'layer';
  const scale = layer ? `√(var(${of}) + ε)` : `√(mean(${of}²) + ε)`;
  const normalized = layer ? `(${of} − mean) / scale · gain + bias` : `${of} / scale · gain`;
  return [
    [`${name}.hook_scale`, 'pos 1', scale],
    [`${name}.hook_normalized`, 'pos d_model', normalized, `${name}.hook_out`],
  ];
}

function attentionRows(config: ModelConfig): readonly Row[] {
  const turned = config.qkNorm ? 'the normalised' : 'the';
  const [q, k] = config.positions.kind === 'rotary' ? ['rot_q', 'rot_k'] : ['q', 'k'];
  const repeats = config.n_heads > config.n_key_value_heads ? ' of the head’s group' : '';
  return [
    ['hook_resid_pre', 'pos d_model', 'the residual stream that enters the block', 'hook_in'],
    ...normRows(config, 'ln1', 'resid_pre'),
    ['attn.hook_q', 'pos head d_head', 'ln1.hook_normalized W_Q + b_Q', 'attn.q.hook_out'],
    ['attn.hook_k', 'pos kv_head d_head', 'ln1.hook_normalized W_K + b_K', 'attn.k.hook_out'],
    ['attn.hook_v', 'pos kv_head d_head', 'ln1.hook_normalized W_V + b_V', 'attn.v.hook_out'],
    [
      'attn.q_norm.hook_normalized',
      'pos head d_head',
      'q / √(mean(q²) + ε) · gain, each head by itself',
      'attn.q_norm.hook_out',
    ],
    [
      'attn.k_norm.hook_normalized',
      'pos kv_head d_head',
      'k / √(mean(k²) + ε) · gain, each head by itself',
      'attn.k_norm.hook_out',
    ],
    ['attn.hook_rot_q', 'pos head d_head', `${turned} query, turned by its position`],
    ['attn.hook_rot_k', 'pos kv_head d_head', `${turned} key, turned by its position`],
    [
      'attn.hook_attn_scores',
      'head query_pos key_pos',
      `${q} ${k}ᵀ / attn_scale${repeats}; −∞ where key_pos > query_pos`,
    ],
    ['attn.hook_pattern', 'head query_pos key_pos', 'softmax of the scores over key_pos'],
    ['attn.hook_z', 'pos head d_head', `pattern v${repeats}`, 'attn.o.hook_in'],
    ['attn.hook_result', 'pos head d_model', 'z W_O, each head by itself'],
    ['hook_attn_out', 'pos d_model', 'Σ over heads of result + b_O', 'attn.hook_out'],
  ];
}

function mlpRows(config: ModelConfig): readonly Row[] {
  const { parallelResidual, mlp } = config;
  const before = parallelResidual ? 'resid_pre' : 'resid_mid';
  const act = mlp.activation;
  const after = parallelResidual ? 'resid_pre + attn_out + mlp_out' : 'resid_mid + mlp_out';
  const pre: Row = mlp.gated
    ? ['mlp.hook_pre', 'pos d_mlp', 'ln2.hook_normalized W_gate (+ b)', 'mlp.gate.hook_out']
    : ['mlp.hook_pre', 'pos d_mlp', 'ln2.hook_normalized W_in + b_in', 'mlp.in.hook_out'];
  const post = mlp.gated ? `${act}(pre) · pre_linear` : `${act}(pre)`;
  return [
    ['hook_resid_mid', 'pos d_model', 'resid_pre + attn_out', 'ln2.hook_in'],
    ...normRows(config, 'ln2', before),
    pre,
    [
      'mlp.hook_pre_linear',
      'pos d_mlp',
      'ln2.hook_normalized W_in (+ b)',
      ...(mlp.gated ? ['mlp.in.hook_out'] : []),
    ],
    ['mlp.hook_post', 'pos d_mlp', `${post}: what W_out multiplies`, 'mlp.out.hook_in'],
    ['hook_mlp_out', 'pos d_model', 'post W_out (+ b_out)', 'mlp.hook_out'],
    ['hook_resid_post', 'pos d_model', after, 'hook_out'],
  ];
}
