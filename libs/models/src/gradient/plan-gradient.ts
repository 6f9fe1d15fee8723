import { assert } from '@heddle/core';
import {
  type ForwardPlan,
  type ForwardRequest,
  type ForwardStep,
  keyOf,
  queryBlocksFor,
  stepOf,
  stepSegment,
} from '../forward/plan-forward.ts';
import { hookPoint } from '../hooks/catalogue.ts';
import type { Model } from '../model.ts';
import { gradientOf, PLAIN } from '../segments/segment-request.ts';

export interface GradientRequest extends Omit<ForwardRequest, 'programs'> {
  /** Hook points that the scalar reads; `logits` for logits and log probabilities. */
  readonly targets: readonly string[];
}

export interface GradientPlan extends ForwardPlan {
  /** Hooks of segments behind everything that the scalar reads: their gradient is zero, and nothing is computed for them. */
  readonly zeros: readonly string[];
}

/**
 * *Gradients of a scalar by hook points, segment by segment.* Forward up to the residual stream that enters the last segment
 * which the scalar reads; then backward from that segment to the first one with a hook asked for, each computing its forward
 * again from its `resid_in` and handing `∂s/∂resid_in` to the one before. No other segment is opened.
 */
export function planGradient(model: Model, request: GradientRequest): GradientPlan {
  const { config } = model;
  assert(request.targets.length > 0, 'a scalar reads at least one hook point');
  const place = (hook: string) => ({ hook, at: stepOf(model, hookPoint(config, hook).segment) });
  const targets = [...new Set(request.targets)].map(place);
  const changed = [...new Set(request.interventions ?? [])].map(place);
  const top = Math.max(...targets.map(({ at }) => at));
  const all = request.hooks.map(place);
  const zero = ({ hook, at }: { hook: string; at: number }) =>
    at > top || (hook === 'logits' && !request.targets.includes(hook));
  const hooks = all.filter((hook) => !zero(hook));
  const zeros = all.filter(zero).map(({ hook }) => hook);
  if (hooks.length === 0) return { steps: [], outputs: new Map(), zeros };
  const bottom = Math.min(...hooks.map(({ at }) => at));
  const queryBlocks = queryBlocksFor(model, request);
  const names = (from: readonly { hook: string; at: number }[], step: number) =>
    from.filter(({ at }) => at === step).map(({ hook }) => hook);
  const variant = (at: number, change: Partial<ForwardStep['request']>): ForwardStep => {
    const segment = stepSegment(model, at);
    const blocks = segment.kind === 'block' ? queryBlocks : 1;
    const interventions = names(changed, at);
    const own = { ...PLAIN, interventions, queryBlocks: blocks, ...change };
    return { segment, request: own, key: keyOf(segment, own) };
  };
  const forward = Array.from({ length: top }, (_, at) => variant(at, { residOut: true }));
  const backward = Array.from({ length: top - bottom + 1 }, (_, i) => {
    const at = top - i;
    const gradient = {
      seeds: names(targets, at),
      at: names(hooks, at),
      fromNext: at < top,
      toPrevious: at > bottom,
    };
    return variant(at, { residOut: false, gradient });
  });
  const outputs = new Map(
    hooks.map(({ hook, at }) => [hook, { step: top + (top - at), output: gradientOf(hook) }]),
  );
  return { steps: [...forward, ...backward], outputs, zeros };
}
