import { assert } from '@heddle/core';
import type { Dim, Value } from '@heddle/onnx';
import type { Rotary } from '../config/model-config.ts';
import { weightOf } from '../model.ts';
import { buildHeadNorm } from './build-norm.ts';
import type { SegmentSite } from './segment-site.ts';

/** Tables of cos and sin, [pos, dims/2], amplitude included: feeds, so that angles are computed in double on the host. */
export interface RotaryTables {
  readonly cos: Value;
  readonly sin: Value;
}

/**
 * *Attention of one layer*, hook by hook (Elhage et al. 2021).
 *   x [batch, pos, d_model], after the norm → attn_out [batch, pos, d_model]
 */
export function buildAttention(
  site: SegmentSite,
  layer: number,
  x: Value,
  tables: RotaryTables | undefined,
): Value {
  const prefix = `blocks.${layer}.attn`;
  return site.g.scope('attn', () => {
    const [q, k, v] = buildProjections(site, prefix, x).map((value, i) =>
      site.hook(`${prefix}.hook_${'qkv'[i]}`, value),
    ) as [Value, Value, Value];
    const turnedQ = positioned(site, `${prefix}`, 'q', q, tables);
    const turnedK = positioned(site, `${prefix}`, 'k', k, tables);
    const z = site.hook(`${prefix}.hook_z`, buildMixing(site, layer, turnedQ, turnedK, v));
    return buildOutput(site, prefix, z);
  });
}

/** q [batch, pos, head, d_head], k and v [batch, pos, kv_head, d_head]; one GEMM where the file fuses them. */
function buildProjections(site: SegmentSite, prefix: string, x: Value): readonly Value[] {
  const { g, config } = site;
  const { n_heads, n_key_value_heads, d_head } = config;
  const heads = (y: Value, n: number) => g.reshape(y, ['batch', 'pos', n, d_head]);
  if (config.family === 'gpt2') {
    // Heads first, then the split: its parts are then the hooks' values themselves, without a Reshape that would copy them.
    const fused = heads(site.project(`${prefix}.qkv`, x), 3 * n_heads);
    return g.split(fused, { axis: 2, sizes: [n_heads, n_heads, n_heads] });
  }
  if (config.family === 'gpt_neox') {
    const fused = site.project(`${prefix}.qkv`, x);
    const interleaved = g.reshape(fused, ['batch', 'pos', n_heads, 3 * d_head]);
    return g.split(interleaved, { axis: 3, sizes: [d_head, d_head, d_head] });
  }
  return [
    heads(site.project(`${prefix}.Q`, x), n_heads),
    heads(site.project(`${prefix}.K`, x), n_key_value_heads),
    heads(site.project(`${prefix}.V`, x), n_key_value_heads),
  ];
}

/** Normalises and turns q or k where the model does. */
function positioned(
  site: SegmentSite,
  prefix: string,
  which: 'q' | 'k',
  x: Value,
  tables: RotaryTables | undefined,
): Value {
  const { positions, qkNorm } = site.config;
  const normalized = qkNorm ? buildHeadNorm(site, `${prefix}.${which}_norm`, x) : x;
  if (positions.kind === 'learned') return normalized;
  assert(tables !== undefined, 'rotary tables are missing');
  return site.hook(
    `${prefix}.hook_rot_${which}`,
    buildRotation(site, normalized, tables, positions),
  );
}

/**
 * Rotary embedding in the half-split layout: with x = [x₁ x₂ rest] of widths dims/2, dims/2 and what remains,
 * [x₁ cos − x₂ sin, x₂ cos + x₁ sin, rest]. Su et al. 2021.
 */
function buildRotation(site: SegmentSite, x: Value, tables: RotaryTables, rotary: Rotary): Value {
  const { g, config } = site;
  const half = rotary.dims / 2;
  const rest = config.d_head - rotary.dims;
  const sizes = rest > 0 ? [half, half, rest] : [half, half];
  const [x1, x2, pass] = g.split(x, { axis: 3, sizes }) as [Value, Value, Value?];
  const [cos, sin] = [tables.cos, tables.sin].map((t) => g.unsqueeze(t, [1])) as [Value, Value];
  const y1 = g.sub(g.mul(x1, cos), g.mul(x2, sin));
  const y2 = g.add(g.mul(x2, cos), g.mul(x1, sin));
  return g.concat(pass ? [y1, y2, pass] : [y1, y2], { axis: 3 });
}

/**
 * From turned q and k to z: z = softmax(mask(q kᵀ / attn_scale)) v.
 *   q [batch, pos, head, d_head] · k, v [batch, pos, kv_head, d_head] → [batch, pos, head, d_head]
 * Heads of a group lie side by side, so that grouped attention is one product [group · query_pos, d_head] per kv_head and
 * nothing is repeated.
 */
function buildMixing(site: SegmentSite, layer: number, q: Value, k: Value, v: Value): Value {
  const { g } = site;
  const prefix = `blocks.${layer}.attn`;
  const queries = g.transpose(q, [0, 2, 1, 3]); // [batch, head, pos, d_head]
  const keys = g.transpose(k, [0, 2, 3, 1]); // [batch, kv_head, d_head, pos]
  const values = g.transpose(v, [0, 2, 1, 3]); // [batch, kv_head, pos, d_head]
  const whole = [`${prefix}.hook_attn_scores`, `${prefix}.hook_pattern`].some((h) => site.wants(h));
  const blocks = whole ? 1 : site.request.queryBlocks;
  const mixed =
    blocks === 1
      ? buildQueryBlock(site, layer, { queries, keys, values }, undefined)
      : g.concat(
          Array.from({ length: blocks }, (_, i) =>
            buildQueryBlock(site, layer, { queries, keys, values }, { index: i, count: blocks }),
          ),
          { axis: 2 },
        );
  return g.transpose(mixed, [0, 2, 1, 3]); // [batch, pos, head, d_head]
}

interface Parts {
  readonly queries: Value;
  readonly keys: Value;
  readonly values: Value;
}

/**
 * Attention of some queries, [batch, head, query_pos, d_head]. A block sees only the keys up to its end, so that scores of
 * `count` blocks take (count + 1) / 2count of the work and 1/count of the memory. `query_block` is a feed.
 */
function buildQueryBlock(
  site: SegmentSite,
  layer: number,
  parts: Parts,
  block: { readonly index: number; readonly count: number } | undefined,
): Value {
  const { g, config } = site;
  const prefix = `blocks.${layer}.attn`;
  const { n_heads, n_key_value_heads, d_head } = config;
  const last = block === undefined || block.index === block.count - 1;
  const start: Dim = block && block.index > 0 ? `${block.index}*query_block` : 0;
  const end: Dim = last ? 'pos' : `${(block?.index ?? 0) + 1}*query_block`;
  const queries =
    block === undefined ? parts.queries : g.slice(parts.queries, { axis: 2, start, end });
  const keys = last ? parts.keys : g.slice(parts.keys, { axis: 3, end });
  const values = last ? parts.values : g.slice(parts.values, { axis: 2, end });
  const rows = queries.shape[2] as Dim;
  const group = n_heads / n_key_value_heads;
  const grouped = (x: Value, width: Dim) =>
    group === 1 ? x : g.reshape(x, ['batch', n_key_value_heads, -1, width]);
  // Right behind the product, where ORT makes one kernel of the scale, both transposes and the product.
  const scale = 1 / (config.attn_scale[layer] as number);
  const products = g.mul(g.matMul(grouped(queries, d_head), keys), scale);
  const scores = ungrouped(site, products, [rows, end]);
  const mask = buildMask(site, start, rows, end);
  let masked = site.hook(`${prefix}.hook_attn_scores`, g.add(scores, mask));
  if (site.changes(`${prefix}.hook_attn_scores`)) {
    // −∞ · factor + value is not −∞ for every factor; what lies above the diagonal stays out of reach.
    const allowed = g.equal(mask, 0);
    masked = site.mark(`${prefix}.hook_attn_scores`, g.where(allowed, masked, -Infinity));
  }
  const pattern = site.hook(`${prefix}.hook_pattern`, g.softmax(masked, { axis: -1 }));
  return ungrouped(site, g.matMul(grouped(pattern, end), values), [rows, d_head]);
}

function ungrouped(site: SegmentSite, x: Value, tail: readonly Dim[]): Value {
  const { n_heads, n_key_value_heads } = site.config;
  return n_heads === n_key_value_heads ? x : site.g.reshape(x, ['batch', n_heads, ...tail]);
}

/** 0 where key_pos ≤ query_pos, else −∞: [query_pos, key_pos], for queries from `start` on. */
function buildMask(site: SegmentSite, start: Dim, rows: Dim, columns: Dim): Value {
  const { g } = site;
  const queryPos = g.range(columns, { start });
  assert(queryPos.shape[0] === rows, 'the mask has as many rows as there are queries');
  const future = g.greater(g.unsqueeze(g.range(columns), [0]), g.unsqueeze(queryPos, [1]));
  return g.where(future, g.constant(-Infinity), g.constant(0));
}

/** z W_O + b_O; by way of every head's own result where that is asked for. */
function buildOutput(site: SegmentSite, prefix: string, z: Value): Value {
  const { g, config } = site;
  const { n_heads, d_head, d_model } = config;
  const resultHook = `${prefix}.hook_result`;
  if (site.wants(resultHook)) {
    const stored = site.weight(`${prefix}.O.W`);
    const flat = weightOf(site.model, `${prefix}.O.W`).layout === 'out_in';
    const W_O = g.reshape(flat ? g.transpose(stored) : stored, [n_heads, d_head, d_model]);
    const byHead = g.matMul(g.transpose(z, [0, 2, 1, 3]), W_O); // [batch, head, pos, d_model]
    const result = site.hook(resultHook, g.transpose(byHead, [0, 2, 1, 3]));
    if (site.carries(resultHook)) {
      const sum = g.reduceSum(result, { axes: [2], keepDims: false });
      return site.hasWeight(`${prefix}.O.b`) ? g.add(sum, site.weight(`${prefix}.O.b`)) : sum;
    }
  }
  return site.project(`${prefix}.O`, g.reshape(z, ['batch', 'pos', n_heads * d_head]));
}
