import { invalidArgument } from '@heddle/core';
import type { HookPoint, Intervention, ModelConfig, SegmentRequest } from '@heddle/models';
import { hookPoint } from '@heddle/models';
import { elementCount, showShape, type Tensor, tensor } from '@heddle/tensor';
import type { CheckedIntervention } from './check-intervention.ts';
import type { CheckedRun } from './check-run.ts';

const isPosition = (axis: string | undefined): boolean => axis === 'pos' || axis === 'query_pos';
const isHead = (axis: string | undefined): boolean => axis === 'head' || axis === 'kv_head';

/** The part of a hook that an intervention is about, in the hook's own order of axes, for a prompt of `length` tokens. */
function selectedShape(
  point: HookPoint,
  { positions, heads }: Pick<CheckedIntervention, 'positions' | 'heads'>,
  length: number,
): readonly number[] {
  return point.shape.map((size, i) => {
    if (isPosition(point.axes[i]) && positions) return positions.length;
    if (isHead(point.axes[i]) && heads) return heads.length;
    return size === 'pos' ? length : size;
  });
}

const broadcasts = (from: readonly number[], to: readonly number[]): boolean =>
  from.length <= to.length &&
  from.every((size, i) => size === 1 || size === to[to.length - from.length + i]);

/** Errors: `invalid_argument` when a value does not broadcast against what it is to change, in some prompt. */
export function checkValueShape(
  point: HookPoint,
  change: CheckedIntervention,
  lengths: readonly number[],
): void {
  if (!change.value) return;
  for (const length of new Set(lengths)) {
    const selected = selectedShape(point, change, length);
    if (broadcasts(change.value.shape, selected)) continue;
    const field = `${change.field}.value`;
    throw invalidArgument(
      `${field}: shape ${showShape(change.value.shape)} does not broadcast against ${point.name}, of which ${showShape(selected)} is selected in a prompt of ${length} tokens`,
      { field },
    );
  }
}

/**
 * A value laid out over everything that it changes, as `interventionFeeds` reads it: [position, head, last axis], the last axis padded
 * where it is one of positions.
 */
function spread(
  point: HookPoint,
  change: CheckedIntervention,
  value: Tensor<'f32'>,
  sizes: { readonly length: number; readonly pos: number },
): Tensor<'f32'> {
  const { length, pos } = sizes;
  const selected = selectedShape(point, change, length);
  const rank = selected.length;
  const width = selected[rank - 1] ?? 1;
  const padded = point.axes[rank - 1] === 'key_pos' ? pos : width;
  const strides = broadcastStrides(value.shape, selected);
  const headAxis = point.axes.findIndex(isHead);
  const positionAxis = point.axes.findIndex(isPosition);
  const heads = headAxis < 0 ? 1 : (selected[headAxis] ?? 1);
  const positions = selected[positionAxis] ?? 1;
  const out = new Float32Array(positions * heads * padded);
  for (let p = 0; p < positions; p++) {
    for (let h = 0; h < heads; h++) {
      const from = p * (strides[positionAxis] ?? 0) + h * (strides[headAxis] ?? 0);
      const to = (p * heads + h) * padded;
      const step = strides[rank - 1] ?? 0;
      for (let j = 0; j < width; j++) out[to + j] = value.data[from + j * step] ?? 0;
    }
  }
  return tensor('f32', headAxis < 0 ? [positions, padded] : [positions, heads, padded], out);
}

/** Elements between neighbours of each axis of `to`, in memory of `from`; 0 where it repeats. */
function broadcastStrides(from: readonly number[], to: readonly number[]): readonly number[] {
  return to.map((_, axis) => {
    const i = from.length - to.length + axis;
    return i < 0 || from[i] === 1 ? 0 : elementCount(from.slice(i + 1));
  });
}

/** The changes of one prompt, as the models room reads them. */
export function promptInterventions(
  config: ModelConfig,
  run: CheckedRun,
  prompt: number,
  place: { readonly batchIndex: number; readonly length: number; readonly pos: number },
): Intervention[] {
  return run.interventions
    .filter(({ prompts }) => prompts?.has(prompt) ?? true)
    .map((change) => {
      const { hook, kind, positions, heads, factor, value } = change;
      const point = hookPoint(config, hook);
      return {
        prompt: place.batchIndex,
        hook,
        kind,
        ...(positions ? { positions } : {}),
        ...(heads ? { heads } : {}),
        ...(factor === undefined ? {} : { factor }),
        ...(value ? { value: spread(point, change, value, place) } : {}),
      };
    });
}

/** Changes of a whole batch: only where the plan has a slot, and one that changes nothing where no prompt uses its slot. */
export function forSlots(
  steps: readonly { readonly request: SegmentRequest }[],
  changes: readonly Intervention[],
): Intervention[] {
  // A gradient's way back has the slots of its way there once more.
  const slots = new Set(steps.flatMap(({ request }) => request.interventions));
  const neutral = (hook: string): Intervention => ({ prompt: 0, hook, kind: 'scale', factor: 1 });
  return [...slots].flatMap((hook) => {
    const mine = changes.filter((change) => change.hook === hook);
    return mine.length > 0 ? mine : [neutral(hook)];
  });
}
