import type { Value } from '@heddle/onnx';
import type { SegmentSite } from './segment-site.ts';

/**
 * A norm of the residual stream: LayerNorm, or RMS norm without a mean and a bias.
 *   x [batch, pos, d_model] → [batch, pos, d_model]: what the next weight multiplies
 * One fused op, unless its scale is asked for or changed.
 */
export function buildNorm(site: SegmentSite, role: string, x: Value): Value {
  const { g, config } = site;
  const { kind, epsilon } = config.norm;
  const [scaleHook, outHook] = [`${role}.hook_scale`, `${role}.hook_normalized`];
  const gain = site.weight(`${role}.w`);
  return g.scope(role.slice(role.lastIndexOf('.') + 1), () => {
    if (kind === 'layer' && !site.wants(scaleHook)) {
      const bias = site.weight(`${role}.b`);
      return site.hook(outHook, g.layerNormalization(x, gain, bias, { epsilon }));
    }
    const centred = kind === 'layer' ? g.sub(x, g.reduceMean(x, { axes: [-1] })) : x;
    const meanSquare = g.reduceMean(g.mul(centred, centred), { axes: [-1] });
    const scale = site.hook(scaleHook, g.sqrt(g.add(meanSquare, epsilon)));
    const scaled = g.mul(g.div(centred, scale), gain);
    const shifted = kind === 'layer' ? g.add(scaled, site.weight(`${role}.b`)) : scaled;
    return site.hook(outHook, shifted);
  });
}

/** RMS norm of every head of q or k by itself (Qwen3): [batch, pos, head, d_head] → the same. */
export function buildHeadNorm(site: SegmentSite, role: string, x: Value): Value {
  const { g, config } = site;
  const normalized = g.rmsNormalization(x, site.weight(`${role}.w`), {
    epsilon: config.norm.epsilon,
  });
  return site.hook(`${role}.hook_normalized`, normalized);
}
