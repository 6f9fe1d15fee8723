import { assert } from '@heddle/core';
import { hookPoint, type Segment, segmentName } from '../hooks/catalogue.ts';
import { QUERY_BLOCKS_MAX, SCORE_FLOATS_PER_BLOCK } from '../limits.ts';
import type { Model } from '../model.ts';
import type { GraphProgram, SegmentRequest } from '../segments/segment-request.ts';

export interface ForwardRequest {
  /** Canonical names, as `resolveHooks` gives them. */
  readonly hooks: readonly string[];
  /** Hook points where something is changed; not `logits`, from which nothing is computed. */
  readonly interventions?: readonly string[];
  readonly programs?: readonly { readonly segment: Segment; readonly program: GraphProgram }[];
  /** Sizes of the batch, which decide whether attention is cut into query blocks. 1 and n_ctx when left out. */
  readonly batch?: number;
  readonly pos?: number;
}

export interface ForwardStep {
  readonly segment: Segment;
  readonly request: SegmentRequest;
  /** Equal keys are equal graphs of one model: what compiled segments are cached by. */
  readonly key: string;
}

/** Where a hook's value comes from: an output of a step. */
export interface HookSource {
  readonly step: number;
  readonly output: string;
}

export interface ForwardPlan {
  readonly steps: readonly ForwardStep[];
  readonly outputs: ReadonlyMap<string, HookSource>;
}

/**
 * *Which segments a question needs, and what each gives.* The chain begins with the embedding and stops after the last
 * segment that a hook or a program needs; interventions behind it change nothing and are left out. A residual stream that
 * enters a block is the output of the step before: it is kept, not copied.
 */
export function planForward(model: Model, request: ForwardRequest): ForwardPlan {
  const { config } = model;
  const sources = request.hooks.map((hook) => ({ hook, ...sourceOf(model, request, hook) }));
  const programs = (request.programs ?? []).map((p) => ({ ...p, at: stepOf(model, p.segment) }));
  const last = Math.max(-1, ...sources.map(({ at }) => at), ...programs.map(({ at }) => at));
  assert(last >= 0, 'a forward plan needs at least one hook or program');
  const changed = (request.interventions ?? []).map((hook) => {
    assert(hook !== 'logits', 'nothing is computed from logits, so an intervention there is none');
    return { hook, at: stepOf(model, hookPoint(config, hook).segment) };
  });
  const queryBlocks = queryBlocksFor(model, request);
  const steps = Array.from({ length: last + 1 }, (_, step): ForwardStep => {
    const segment = stepSegment(model, step);
    const segmentRequest: SegmentRequest = {
      hooks: sources
        .filter(({ at, output }) => at === step && output !== 'resid_out')
        .map((s) => s.hook),
      interventions: changed.filter(({ at }) => at === step).map(({ hook }) => hook),
      programs: programs.filter(({ at }) => at === step).map(({ program }) => program),
      residOut:
        step < last || sources.some(({ at, output }) => at === step && output === 'resid_out'),
      queryBlocks: segment.kind === 'block' ? queryBlocks : 1,
    };
    return { segment, request: segmentRequest, key: keyOf(segment, segmentRequest) };
  });
  const outputs = new Map(sources.map(({ hook, at, output }) => [hook, { step: at, output }]));
  return { steps, outputs };
}

/** The step of a hook and its output there; residual streams are outputs of the step before where nothing changes them. */
function sourceOf(
  model: Model,
  request: ForwardRequest,
  hook: string,
): { at: number; output: string } {
  const point = hookPoint(model.config, hook);
  const at = stepOf(model, point.segment);
  if (hook.endsWith('.hook_resid_pre') && !request.interventions?.includes(hook)) {
    return { at: at - 1, output: 'resid_out' };
  }
  if (hook.endsWith('.hook_resid_post')) return { at, output: 'resid_out' };
  return { at, output: hook };
}

/** The step of a forward plan at which a segment stands. */
export function stepOf({ config }: Model, segment: Segment): number {
  if (segment.kind === 'embed') return 0;
  return segment.kind === 'block' ? segment.layer + 1 : config.n_layers + 1;
}

export function stepSegment({ config }: Model, step: number): Segment {
  if (step === 0) return { kind: 'embed' };
  return step <= config.n_layers ? { kind: 'block', layer: step - 1 } : { kind: 'unembed' };
}

/** A power of two, so that lengths share few variants; 1 while the scores of one layer are small enough to hold at once. */
export function queryBlocksFor(
  { config }: Model,
  request: Pick<ForwardRequest, 'batch' | 'pos'>,
): number {
  const { batch = 1, pos = 1 } = request;
  const floats = batch * config.n_heads * pos * pos;
  let blocks = 1;
  while (
    blocks < QUERY_BLOCKS_MAX &&
    floats / blocks > SCORE_FLOATS_PER_BLOCK &&
    pos >= 4 * blocks
  ) {
    blocks *= 2;
  }
  return blocks;
}

export function keyOf(segment: Segment, request: SegmentRequest): string {
  const { hooks, interventions, programs, residOut, queryBlocks, gradient } = request;
  return JSON.stringify([
    segmentName(segment),
    hooks.toSorted(),
    interventions.toSorted(),
    programs.map(({ name }) => name),
    residOut,
    queryBlocks,
    ...(gradient ? [gradient] : []),
  ]);
}
