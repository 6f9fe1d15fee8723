import {
  type ForwardPlan,
  factorFeed,
  type GraphProgram,
  type HookPoint,
  type Intervention,
  interventionFeeds,
  planForward,
  type Segment,
  type SegmentRequest,
  segmentFeeds,
  segmentName,
  stepFeeds,
  valueFeed,
} from '@heddle/models';
import { vjp } from '@heddle/onnx';
import type { Feed } from '@heddle/ports';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import { forSlots } from './intervention.ts';
import { cotangent, type Objective, objectiveRows } from './objective.ts';
import type { LoadedModel } from './open-model.ts';

const GRADIENT_IN = 'resid_in#gradient';
export const gradientOutput = (hook: string): string => `${hook}#gradient`;
const cotangentFeed = (hook: string): string => `${hook}#cotangent`;

/** The backward half of a gradient's chain: forward through all segments but the last, then back to the first hook. */
export interface GradientPlan {
  readonly forward: ForwardPlan;
  /** From the last segment to the first that has a hook. */
  readonly backward: readonly BackwardStep[];
  readonly outputs: ReadonlyMap<string, { readonly step: number; readonly output: string }>;
}

export interface BackwardStep {
  readonly segment: Segment;
  /** Its place in the forward chain: 0 the embedding, 1 block 0. */
  readonly at: number;
  readonly request: SegmentRequest;
  readonly key: string;
  /** Objective's hooks in this segment. */
  readonly objectives: readonly HookPoint[];
}

/**
 * *Reverse mode through a whole model*, segment by segment: each computes itself once more from the residual stream that entered it, and
 * its vector-Jacobian product takes the gradient from its end to its beginning and to the hooks asked for. Only residual streams
 * and gradients pass between segments, and none of them leaves the engine.
 */
export function planGradient(
  { config, ...rest }: LoadedModel,
  hooks: readonly HookPoint[],
  objective: Objective,
  interventions: readonly string[],
): GradientPlan {
  const model = { config, ...rest };
  const place = ({ segment }: HookPoint): number =>
    segment.kind === 'embed'
      ? 0
      : segment.kind === 'block'
        ? segment.layer + 1
        : config.n_layers + 1;
  const targets = [...new Map(objective.map(({ point }) => [point.name, point])).values()];
  const last = Math.max(...[...hooks, ...targets].map(place), 1);
  const first = Math.max(1, Math.min(...hooks.map(place)));
  const reaching = last === 1 ? 'blocks.0.hook_resid_pre' : `blocks.${last - 2}.hook_resid_post`;
  const forward = planForward(model, {
    hooks: [reaching],
    interventions: interventions.filter((hook) => last > 1 || hook !== reaching),
  });
  const backward: BackwardStep[] = [];
  const outputs = new Map<string, { step: number; output: string }>();
  for (let at = last; at >= first; at--) {
    const segment: Segment =
      at > config.n_layers ? { kind: 'unembed' } : { kind: 'block', layer: at - 1 };
    const step = forward.steps.length + backward.length;
    const own = hooks.filter((point) => place(point) === at && point.name !== 'logits');
    const objectives = targets.filter((point) => place(point) === at);
    for (const { name } of own) outputs.set(name, { step, output: gradientOutput(name) });
    const program = backwardProgram(segment, own, objectives);
    const slots = interventions.filter((hook) => isOf(hook, segment));
    backward.push({
      segment,
      at,
      objectives,
      key: JSON.stringify([segmentName(segment), program.name, slots.toSorted()]),
      request: {
        hooks: [],
        interventions: slots,
        programs: [program],
        residOut: false,
        queryBlocks: 1,
      },
    });
  }
  // The embedding's parts are summed, so that the gradient at each of them is the one where they enter block 0.
  const step = forward.steps.length + backward.length - 1;
  for (const point of hooks) {
    if (place(point) === 0) outputs.set(point.name, { step, output: GRADIENT_IN });
  }
  return { forward, backward, outputs };
}

const isOf = (hook: string, segment: Segment): boolean =>
  segment.kind === 'block'
    ? hook.startsWith(`${segmentName(segment)}.`)
    : hook.startsWith('ln_final.');

function backwardProgram(
  segment: Segment,
  hooks: readonly HookPoint[],
  objectives: readonly HookPoint[],
): GraphProgram {
  const names = hooks.map(({ name }) => name);
  const targets = objectives.map(({ name }) => name);
  const end = segment.kind === 'block' ? `${segmentName(segment)}.hook_resid_post` : undefined;
  return {
    name: `gradient of ${targets.join(' ')} at ${names.join(' ')}`.replaceAll('.', '_'),
    needs: [...new Set(['resid_in', ...names, ...targets, ...(end ? [end] : [])])],
    build(g, at) {
      const outputs = targets.map(at);
      const given = targets.map((name, i) =>
        g.input(cotangentFeed(name), 'f32', outputs[i]?.shape ?? []),
      );
      if (end) {
        outputs.push(at(end));
        given.push(g.input('cotangent', 'f32', at(end).shape));
      }
      const wrt = ['resid_in', ...names].map(at);
      const gradients = vjp(g, outputs, given, wrt);
      [GRADIENT_IN, ...names.map(gradientOutput)].forEach((name, i) => {
        const gradient = gradients[i];
        if (gradient) g.output(name, gradient);
      });
    },
  };
}

export interface GradientInputs {
  readonly tokens: Tensor<'i64'>;
  readonly lengths: readonly number[];
  readonly changes: readonly Intervention[];
}

/** All feeds of all steps, forward and backward. */
export function gradientFeeds(
  model: LoadedModel,
  plan: GradientPlan,
  objective: Objective,
  { tokens, lengths, changes }: GradientInputs,
): readonly Readonly<Record<string, Feed>>[] {
  const { config } = model;
  const { forward, backward } = plan;
  const [batch = 0, pos = 0] = tokens.shape;
  const sizes = { batch, pos, lengths };
  const slots = interventionFeeds(config, sizes, forSlots(backward, changes));
  const rows = lengths.flatMap((length, b) =>
    objectiveRows(objective, length).map((p) => BigInt(b * pos + p)),
  );
  const back = backward.map(({ segment, at, request, objectives }, i): Record<string, Feed> => {
    const feeds: Record<string, Feed> = segmentFeeds(config, segment, pos);
    feeds['resid_in'] = { step: at - 1, output: 'resid_out' };
    for (const point of objectives) {
      feeds[cotangentFeed(point.name)] = cotangent(objective, point, lengths, pos);
    }
    if (segment.kind === 'unembed') {
      // A graph input is fed whether it is read or not.
      const chosen = BigInt64Array.from(rows.length > 0 ? rows : [0n]);
      feeds['logit_rows'] = tensor('i64', [chosen.length], chosen);
    } else {
      feeds['cotangent'] =
        i === 0
          ? zeros('f32', [batch, pos, config.d_model])
          : { step: forward.steps.length + i - 1, output: GRADIENT_IN };
    }
    for (const hook of request.interventions) {
      for (const name of [factorFeed(hook), valueFeed(hook)]) {
        const feed = slots[name];
        if (feed) feeds[name] = feed;
      }
    }
    return feeds;
  });
  const interventions = forSlots(forward.steps, changes);
  return [...stepFeeds(model, forward, { tokens, lengths, interventions }), ...back];
}
