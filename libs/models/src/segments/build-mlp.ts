import { unreachable } from '@heddle/core';
import type { Value } from '@heddle/onnx';
import type { Activation } from '../config/model-config.ts';
import type { SegmentSite } from './segment-site.ts';

/** The MLP of one layer: x [batch, pos, d_model], after the norm → mlp_out [batch, pos, d_model]. */
export function buildMlp(site: SegmentSite, layer: number, x: Value): Value {
  const prefix = `blocks.${layer}.mlp`;
  const { g, config } = site;
  const { gated, activation } = config.mlp;
  return g.scope('mlp', () => {
    const pre = site.hook(
      `${prefix}.hook_pre`,
      site.project(`${prefix}.${gated ? 'gate' : 'in'}`, x),
    );
    const active = activate(site, activation, pre);
    const post = gated
      ? g.mul(active, site.hook(`${prefix}.hook_pre_linear`, site.project(`${prefix}.in`, x)))
      : active;
    return site.project(`${prefix}.out`, site.hook(`${prefix}.hook_post`, post));
  });
}

function activate({ g }: SegmentSite, activation: Activation, x: Value): Value {
  switch (activation) {
    case 'gelu':
      return g.gelu(x);
    case 'gelu_tanh':
      return g.gelu(x, { approximate: 'tanh' });
    case 'relu':
      return g.relu(x);
    case 'silu':
      return g.silu(x);
    default:
      return unreachable(activation);
  }
}
