import { assert } from '@heddle/core';
import type { Graph, Value } from '@heddle/onnx';
import { type Segment, segmentName } from '../hooks/catalogue.ts';
import type { Model } from '../model.ts';
import { buildAttention, type RotaryTables } from './build-attention.ts';
import { buildGradient } from './build-gradient.ts';
import { buildMlp } from './build-mlp.ts';
import { buildNorm } from './build-norm.ts';
import type { SegmentRequest } from './segment-request.ts';
import { SegmentSite } from './segment-site.ts';

/**
 * *The graph of one segment*: what its request needs and nothing else; weights and nodes that no output needs are left out.
 *
 *   embed    tokens i64 [batch, pos]                            → resid_out [batch, pos, d_model]
 *   block    resid_in, rotary_cos and rotary_sin [pos, dims/2]  → resid_out [batch, pos, d_model]
 *   unembed  resid_in, logit_rows i64 [token] of batch · pos    → logits [token, d_vocab]
 *
 * Hooks become outputs under their names, with a batch axis before their own. Prompts shorter than `pos` are padded behind
 * their end, which causal attention never sees; positions count from 0.
 * With `gradient`, the vector-Jacobian product stands beside (`build-gradient.ts`).
 */
export function buildSegment(model: Model, segment: Segment, request: SegmentRequest): Graph {
  const site = new SegmentSite(segmentName(segment), model, request);
  const { g } = site;
  const resid =
    segment.kind === 'embed'
      ? buildEmbed(site)
      : segment.kind === 'block'
        ? buildBlock(site, segment.layer)
        : buildUnembed(site);
  for (const program of request.programs) {
    g.scope(program.name, () => program.build(g, (hook) => site.at(hook)));
  }
  if (request.gradient) buildGradient(site, request.gradient, resid);
  if (request.residOut) {
    assert(resid !== undefined, 'the unembedding has no residual stream to hand on');
    g.output('resid_out', resid);
  }
  for (const hook of request.hooks) g.output(hook, site.at(hook));
  return g.build();
}

function buildEmbed(site: SegmentSite): Value {
  const { g, config } = site;
  const tokens = g.input('tokens', 'i64', ['batch', 'pos']);
  const embedded = site.hook('hook_embed', g.gather(site.weight('W_E'), tokens));
  if (config.positions.kind === 'rotary') return embedded;
  let places = g.slice(site.weight('W_pos'), { axis: 0, end: 'pos' });
  if (site.wants('hook_pos_embed')) {
    places = site.hook('hook_pos_embed', g.expand(places, ['batch', 'pos', config.d_model]));
  }
  return g.add(embedded, places);
}

function buildBlock(site: SegmentSite, layer: number): Value {
  const { g, config } = site;
  const prefix = `blocks.${layer}`;
  const width = config.d_model;
  const stream = site.hook('resid_in', g.input('resid_in', 'f32', ['batch', 'pos', width]));
  const tables = rotaryTables(site);
  return g.scope(prefix, () => {
    const resid = site.hook(`${prefix}.hook_resid_pre`, stream);
    const x = buildNorm(site, `${prefix}.ln1`, resid);
    const attnOut = site.hook(`${prefix}.hook_attn_out`, buildAttention(site, layer, x, tables));
    const afterAttention = g.add(resid, attnOut);
    const mid = config.parallelResidual
      ? resid
      : site.hook(`${prefix}.hook_resid_mid`, afterAttention);
    const y = buildNorm(site, `${prefix}.ln2`, mid);
    const mlpOut = site.hook(`${prefix}.hook_mlp_out`, buildMlp(site, layer, y));
    const before = config.parallelResidual ? afterAttention : mid;
    return site.hook(`${prefix}.hook_resid_post`, g.add(before, mlpOut));
  });
}

function rotaryTables({ g, config, request }: SegmentSite): RotaryTables | undefined {
  if (request.queryBlocks > 1) g.sizeInput('query_block');
  if (config.positions.kind === 'learned') return undefined;
  const shape = ['pos', config.positions.dims / 2];
  return {
    cos: g.input('rotary_cos', 'f32', shape),
    sin: g.input('rotary_sin', 'f32', shape),
  };
}

/** Only the rows asked for are multiplied by W_U: full logits of a thousand tokens are two hundred MiB. */
function buildUnembed(site: SegmentSite): undefined {
  const { g, config } = site;
  const resid = site.hook('resid_in', g.input('resid_in', 'f32', ['batch', 'pos', config.d_model]));
  const rows = g.input('logit_rows', 'i64', ['rows']);
  const normalized = buildNorm(site, 'ln_final', resid);
  const flat = g.reshape(normalized, [-1, config.d_model]);
  const role = config.tiedEmbeddings ? 'W_E' : 'W_U';
  const chosen = g.gather(flat, rows);
  site.hook('logits', g.gemm(chosen, site.weight(role), { transB: true }));
  return undefined;
}
