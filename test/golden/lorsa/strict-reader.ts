/**
 * A reader of the published Lorsa format, written from the description of the format alone: as strict as the reference's
 * loader, and with its forward pass. It shares no code with what writes the files, so that both can be wrong only in
 * different ways. Slow and plain; for the tests of exported files.
 */

import assert from 'node:assert/strict';

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export interface StrictTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export interface StrictLayer {
  readonly config: Readonly<Record<string, never>>;
  readonly tensors: Readonly<Record<string, StrictTensor>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Every key of config.json, in any order. */
const KEYS =
  'sae_type d_model expansion_factor use_decoder_bias act_fn norm_activation sparsity_include_decoder_norm top_k use_triton_kernel sparsity_threshold_for_triton_spmm_kernel jumprelu_threshold_window hook_point_in hook_point_out n_qk_heads d_qk_head positional_embedding_type rotary_dim rotary_base rotary_adjacent_pairs rotary_scale use_NTK_by_parts_rope NTK_by_parts_factor NTK_by_parts_low_freq_factor NTK_by_parts_high_freq_factor old_context_len n_ctx attn_scale use_post_qk_ln normalization_type eps'.split(
    ' ',
  );
/** What the reference's configuration class takes. */
const ACT_FN = ['relu', 'jumprelu', 'topk', 'batchtopk'];

// biome-ignore lint/suspicious/noExplicitAny: the values of config.json, each checked where it is used
type Config = Record<string, any>;

/** Reads both files as `load_state_dict(strict=True)` would: no name missing, none unexpected, every shape right. */
export function strictRead(configText: string, file: Uint8Array): StrictLayer {
  const config = JSON.parse(configText) as Config;
  assert.deepEqual(Object.keys(config).sort(), [...KEYS].sort());
  assert.equal(config['sae_type'], 'lorsa');
  assert.ok(ACT_FN.includes(config['act_fn']), config['act_fn']);
  const { tensors, metadata } = safetensors(file);
  assert.match(metadata['version'] ?? '', /^\d+\.\d+/);
  const [d, q, h, n] = [
    config['d_model'],
    config['n_qk_heads'],
    config['d_qk_head'],
    config['n_ctx'],
  ];
  const f = Math.trunc(d * config['expansion_factor']);
  const expected: Record<string, readonly number[]> = {
    ...{ W_Q: [q, d, h], W_K: [q, d, h], b_Q: [q, h], b_K: [q, h] },
    ...{ W_V: [f, d], b_V: [f], W_O: [f, d], mask: [n, n], IGNORE: [] },
    [`dataset_average_activation_norm.${config['hook_point_in']}`]: [],
    [`dataset_average_activation_norm.${config['hook_point_out']}`]: [],
  };
  if (config['use_decoder_bias']) expected['b_D'] = [d];
  if (config['positional_embedding_type'] === 'rotary') {
    expected['rotary_sin'] = expected['rotary_cos'] = [n, config['rotary_dim']];
  }
  if (config['use_post_qk_ln']) expected['ln_q.w'] = expected['ln_k.w'] = [q, h];
  if (config['act_fn'] === 'jumprelu') {
    expected['activation_function.log_jumprelu_threshold'] = [f];
  }
  assert.deepEqual(Object.keys(tensors).sort(), Object.keys(expected).sort());
  for (const [name, shape] of Object.entries(expected)) {
    assert.deepEqual(tensors[name]?.shape, shape, name);
  }
  assert.equal(tensors['mask']?.dtype, 'BOOL');
  const mask = Array.from({ length: n * n }, (_, at) => (at % n <= Math.floor(at / n) ? 1 : 0));
  assert.deepEqual(tensors['mask']?.values, mask);
  assert.equal(tensors['IGNORE']?.values[0], Number.NEGATIVE_INFINITY);
  return { config: config as StrictLayer['config'], tensors, metadata };
}

/** 8 bytes of length, a JSON header, the bytes. */
function safetensors(file: Uint8Array) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  const { __metadata__: metadata = {}, ...entries } = header as Record<string, never>;
  const tensors: Record<string, StrictTensor> = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries<Entry>(entries)) {
    const size = { F32: 4, F64: 8, BF16: 2, BOOL: 1 }[dtype] ?? assert.fail(`${name} is ${dtype}`);
    const at = 8 + length + data_offsets[0];
    const count = shape.reduce((a, b) => a * b, 1);
    assert.equal(data_offsets[1] - data_offsets[0], count * size, name);
    const values = Array.from({ length: count }, (_, i) => number(view, dtype, at + i * size));
    tensors[name] = { dtype, shape, values };
  }
  return { tensors, metadata: metadata as Record<string, string> };
}

function number(view: DataView, dtype: string, at: number): number {
  if (dtype === 'F32') return view.getFloat32(at, true);
  if (dtype === 'F64') return view.getFloat64(at, true);
  if (dtype === 'BOOL') return view.getUint8(at);
  const wide = new DataView(new ArrayBuffer(4)); // bf16: the upper half of a float32
  wide.setUint16(0, view.getUint16(at, true));
  return wide.getFloat32(0);
}

/** Tensors of a file by name, for the values to compare with. */
export const readTensors = (file: Uint8Array) => safetensors(file).tensors;

/** The reference's forward on `[batch, pos, d_model]`: z and ŷ in the host's units, flat. */
export function strictForward(layer: StrictLayer, x: StrictTensor, y: StrictTensor) {
  const config = layer.config as Config;
  const [batch = 0, pos = 0, d = 0] = x.shape;
  const t = (name: string) => layer.tensors[name]?.values ?? [];
  const f = t('b_V').length;
  const norms = Array.from({ length: f }, (_, i) =>
    config['sparsity_include_decoder_norm'] ? Math.hypot(...t('W_O').slice(i * d, (i + 1) * d)) : 1,
  );
  const scaleIn = factors(layer, x, config['hook_point_in']);
  const scaleOut = factors(layer, y, config['hook_point_out']);
  const ranks: number[] = [];
  for (let b = 0; b < batch; b++) {
    const rows = Array.from({ length: pos }, (_, s) =>
      x.values
        .slice((b * pos + s) * d, (b * pos + s + 1) * d)
        .map((v) => v * (scaleIn[b * pos + s] ?? 0)),
    );
    ranks.push(...preActivations(layer, rows).map((v, at) => v * (norms[at % f] ?? 1)));
  }
  const z = activate(layer, ranks, f).map((v, at) => v / (norms[at % f] ?? 1));
  const out = Array.from({ length: batch * pos * d }, (_, at) => {
    const [token, c] = [Math.floor(at / d), at % d];
    let sum = t('b_D')[c] ?? 0;
    for (let i = 0; i < f; i++) sum += (z[token * f + i] ?? 0) * (t('W_O')[i * d + c] ?? 0);
    return sum / (scaleOut[token] ?? 1);
  });
  return { z, reconstruction: out };
}

/** What each token is multiplied by. */
function factors({ config, tensors }: StrictLayer, x: StrictTensor, hook: string): number[] {
  const [batch = 0, pos = 0, d = 0] = x.shape;
  const norm = (token: number) => Math.hypot(...x.values.slice(token * d, (token + 1) * d));
  const each = (of: (token: number) => number) =>
    Array.from({ length: batch * pos }, (_, i) => of(i));
  switch ((config as Config)['norm_activation']) {
    case 'token-wise':
      return each((token) => Math.sqrt(d) / norm(token));
    case 'batch-wise':
      return each((token) => {
        const first = Math.floor(token / pos) * pos;
        const mean =
          each(norm)
            .slice(first, first + pos)
            .reduce((a, b) => a + b, 0) / pos;
        return Math.sqrt(d) / mean;
      });
    case 'dataset-wise': {
      const mean = tensors[`dataset_average_activation_norm.${hook}`]?.values[0] ?? Number.NaN;
      return each(() => Math.sqrt(d) / mean);
    }
    default:
      return each(() => 1);
  }
}

/** z̃ of one sequence, `[pos, ov_head]` flat. */
function preActivations(layer: StrictLayer, rows: readonly (readonly number[])[]): number[] {
  const config = layer.config as Config;
  const t = (name: string) => layer.tensors[name]?.values ?? [];
  const [heads, h, d] = [config['n_qk_heads'], config['d_qk_head'], config['d_model']];
  const f = t('b_V').length;
  const scale = config['attn_scale'] ?? Math.sqrt(h);
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, v, i) => sum + v * (b[i] ?? 0), 0);
  const v = rows.map((row) =>
    Array.from(
      { length: f },
      (_, i) => dot(row, t('W_V').slice(i * d, (i + 1) * d)) + (t('b_V')[i] ?? 0),
    ),
  );
  const out = new Array<number>(rows.length * f).fill(0);
  for (let head = 0; head < heads; head++) {
    const project = (W: string, b: string, gain: string) =>
      rows.map((row, s) => {
        const raw = Array.from({ length: h }, (_, c) => {
          const column = row.map((_unused, m) => t(W)[(head * d + m) * h + c] ?? 0);
          return dot(row, column) + (t(b)[head * h + c] ?? 0);
        });
        const rms = Math.sqrt(dot(raw, raw) / h + config['eps']);
        const normed = config['use_post_qk_ln']
          ? raw.map((value, c) => (value / rms) * (t(gain)[head * h + c] ?? 0))
          : raw;
        return turned(layer, normed, s);
      });
    const [qs, ks] = [project('W_Q', 'b_Q', 'ln_q.w'), project('W_K', 'b_K', 'ln_k.w')];
    qs.forEach((q, row) => {
      const scores = ks.slice(0, row + 1).map((k) => dot(q, k) / scale);
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let i = (head * f) / heads; i < ((head + 1) * f) / heads; i++) {
        out[row * f + i] = weights.reduce((sum, w, s) => sum + (w / total) * (v[s]?.[i] ?? 0), 0);
      }
    });
  }
  return out;
}

/** Rotary by the file's own tables, which is what a loader of the format uses. */
function turned(layer: StrictLayer, x: readonly number[], position: number): readonly number[] {
  const config = layer.config as Config;
  if (config['positional_embedding_type'] !== 'rotary') return x;
  const n = config['rotary_dim'] as number;
  const sin = layer.tensors['rotary_sin']?.values ?? [];
  const cos = layer.tensors['rotary_cos']?.values ?? [];
  return x.map((value, c) => {
    if (c >= n) return value;
    const adjacent = config['rotary_adjacent_pairs'];
    const first = adjacent ? c % 2 === 0 : c < n / 2;
    const partner = adjacent ? c + (first ? 1 : -1) : c + (first ? n / 2 : -n / 2);
    const flipped = (first ? -1 : 1) * (x[partner] ?? 0);
    return value * (cos[position * n + c] ?? 0) + flipped * (sin[position * n + c] ?? 0);
  });
}

/** Ranking values `[token, ov_head]` that survive, the rest 0. */
function activate(layer: StrictLayer, p: readonly number[], f: number): number[] {
  const config = layer.config as Config;
  const logs = layer.tensors['activation_function.log_jumprelu_threshold']?.values ?? [];
  const largest = (values: readonly number[], count: number) => {
    const order = values
      .map((_, at) => at)
      .sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
    const kept = new Set(order.slice(0, count));
    return values.map((value, at) => (kept.has(at) ? value : 0));
  };
  const positive = p.map((value) => Math.max(0, value));
  switch (config['act_fn']) {
    case 'relu':
      return positive;
    case 'jumprelu':
      return p.map((value, at) => (value > Math.exp(logs[at % f] ?? 0) ? value : 0));
    case 'batchtopk':
      return largest(positive, (config['top_k'] * p.length) / f);
    default:
      return Array.from({ length: p.length / f }, (_, token) =>
        largest(positive.slice(token * f, (token + 1) * f), config['top_k']),
      ).flat();
  }
}
