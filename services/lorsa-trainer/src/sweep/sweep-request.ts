import { invalidArgument, OperationError } from '@heddle/core';
import type { StartSweepRequest, StartTrainRequest } from '@heddle/ports/proto/lorsa';
import { SWEEP_POINTS_MAX } from '../limits.ts';
import { checkedTrain, type TrainRequest } from '../train-request.ts';

/** A grid of trainings, in JSON: a training that all have in common, and what differs. No list is empty. */
export type SweepRequest = {
  readonly base: TrainRequest;
  readonly layers: readonly number[];
  readonly n_ov_heads: readonly number[];
  readonly top_k: readonly number[];
  readonly seeds: readonly number[];
};

const BASE: StartTrainRequest = {
  model: '',
  layer: 0,
  architecture: null,
  optimiser: null,
  data: null,
  seed: 0,
  backend: '',
  checkpoint_steps: 0,
  client_key: '',
  preset: '',
  auxiliary: null,
};

/** Errors: `invalid_argument` naming the field: those of a training, an entry that comes twice, too many points. */
export function checkedSweep(request: StartSweepRequest): SweepRequest {
  const base = inField('base', () => checkedTrain(request.base ?? BASE));
  const { n_ov_heads, top_k } = base.architecture;
  const sweep = {
    base,
    layers: list('layers', request.layers, base.layer),
    n_ov_heads: list('n_ov_heads', request.n_ov_heads, n_ov_heads),
    top_k: list('top_k', request.top_k, top_k),
    seeds: list('seeds', request.seeds, base.seed),
  };
  const { layers, seeds } = sweep;
  const count = layers.length * sweep.n_ov_heads.length * sweep.top_k.length * seeds.length;
  if (count > SWEEP_POINTS_MAX) {
    throw invalidArgument(`the grid has ${count} points; at most ${SWEEP_POINTS_MAX}`, {
      field: 'layers',
      details: { count, limit: SWEEP_POINTS_MAX },
    });
  }
  return sweep;
}

function list(field: string, values: readonly number[], own: number): readonly number[] {
  const twice = values.find((value, at) => values.indexOf(value) !== at);
  if (twice !== undefined) throw invalidArgument(`${field} has ${twice} twice`, { field });
  return values.length === 0 ? [own] : [...values];
}

/** Runs a check of the base, whose fields are those of `base` in a sweep. */
export function inField<T>(prefix: string, check: () => T): T {
  try {
    return check();
  } catch (thrown) {
    const { code, message, field, details } = OperationError.from(thrown);
    throw new OperationError({ code, message, details, field: `${prefix}.${field ?? ''}` });
  }
}

/** Every combination, in the order of the lists: layers outermost, seeds innermost. */
export function pointsOf({ base, layers, n_ov_heads, top_k, seeds }: SweepRequest) {
  return layers.flatMap((layer) =>
    n_ov_heads.flatMap((heads) =>
      top_k.flatMap((k) =>
        seeds.map(
          (seed): TrainRequest => ({
            ...base,
            layer,
            seed,
            architecture: { ...base.architecture, n_ov_heads: heads, top_k: k },
          }),
        ),
      ),
    ),
  );
}
