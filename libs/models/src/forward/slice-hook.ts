import { assert } from '@heddle/core';
import { elementCount, type Tensor } from '@heddle/tensor';
import type { ModelConfig } from '../config/model-config.ts';
import { hookPoint } from '../hooks/catalogue.ts';

/**
 * *One prompt's value out of a padded batch*: drops the batch axis, and what padding added along every axis of positions.
 * A view where the prompt fills its rows, else a copy. `positions` picks those of the first axis of positions.
 */
export function sliceHook(
  config: ModelConfig,
  hook: string,
  value: Tensor,
  at: { readonly prompt: number; readonly length: number; readonly positions?: readonly number[] },
): Tensor {
  const { axes } = hookPoint(config, hook);
  const full = value.shape.slice(1);
  assert(axes.length === full.length, () => `${hook} has ${axes.length} axes, not ${full.length}`);
  const picks = axes.map((axis, i) => {
    const query = axis === 'pos' || axis === 'query_pos';
    if (query && at.positions) return at.positions;
    const positional = query || axis === 'key_pos';
    return Array.from({ length: positional ? at.length : (full[i] as number) }, (_, j) => j);
  });
  const shape = picks.map((pick) => pick.length);
  const each = elementCount(full);
  const rows = value.data.subarray(at.prompt * each, (at.prompt + 1) * each) as typeof value.data;
  if (at.positions === undefined && shape.every((n, i) => n === full[i])) {
    return { ...value, shape, data: rows };
  }
  return { ...value, shape, data: pickElements(rows, full, picks, shape) };
}

function pickElements(
  rows: Tensor['data'],
  full: readonly number[],
  picks: readonly (readonly number[])[],
  shape: readonly number[],
): Tensor['data'] {
  const out = rows.slice(0, elementCount(shape));
  let written = 0;
  const visit = (axis: number, offset: number): void => {
    const stride = elementCount(full.slice(axis + 1));
    const pick = picks[axis] as readonly number[];
    if (axis === picks.length - 1) {
      // Picked elements of the last axis lie side by side but for chosen positions: a run is copied at once.
      const first = pick[0] ?? 0;
      const run = pick.every((j, i) => j === first + i);
      if (run) {
        out.set(rows.subarray(offset + first, offset + first + pick.length) as never, written);
        written += pick.length;
      } else for (const j of pick) out[written++] = rows[offset + j] as never;
      return;
    }
    for (const j of pick) visit(axis + 1, offset + j * stride);
  };
  if (out.length > 0) visit(0, 0);
  return out;
}
