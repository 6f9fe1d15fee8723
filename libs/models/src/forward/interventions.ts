import { invalidArgument, type OperationError, resourceExhausted } from '@heddle/core';
import { elementCount, showShape, type Tensor, tensor } from '@heddle/tensor';
import type { ModelConfig } from '../config/model-config.ts';
import { hookPoint } from '../hooks/catalogue.ts';
import { INTERVENTIONS_MAX } from '../limits.ts';
import { factorFeed, valueFeed } from '../segments/segment-request.ts';

/** One change at a hook point of one prompt. Positions are query positions for scores and patterns. */
export interface Intervention {
  readonly prompt: number;
  readonly hook: string;
  readonly kind: 'add' | 'replace' | 'scale' | 'zero';
  /** All positions of the prompt when left out. */
  readonly positions?: readonly number[];
  /** All heads when left out; only for points with a head axis. */
  readonly heads?: readonly number[];
  /**
   * For `add` and `replace`: one vector of the last axis, for every chosen position and head; or one value per chosen
   * [position, head, last axis] (without the head axis where the point has none).
   */
  readonly value?: Tensor<'f32'> | Tensor<'f64'>;
  /** For `scale`. */
  readonly factor?: number;
}

export interface BatchSizes {
  readonly batch: number;
  readonly pos: number;
  /** Length of each prompt; `pos` when left out. */
  readonly lengths?: readonly number[];
}

/** Rows of a point: the batch, its positions, its heads, and the width of what is changed at once. */
interface Layout {
  readonly positions: number;
  readonly heads: number;
  readonly width: number;
  readonly headFirst: boolean;
  readonly byElement: boolean;
  readonly shape: readonly number[];
}

/**
 * *Feeds of every intervention's slot*: x' = x · factor + value, any sequence of changes folded into one of these, in order:
 * add is (1, v), scale (f, 0), replace (0, v), zero (0, 0). Above the diagonal, scores stay −∞ whatever is asked.
 * Errors: `invalid_argument` with `field` `interventions[i]…` for a wrong point, shape, index or a non-finite number.
 */
export function interventionFeeds(
  config: ModelConfig,
  sizes: BatchSizes,
  interventions: readonly Intervention[],
): Readonly<Record<string, Tensor<'f32'>>> {
  if (interventions.length > INTERVENTIONS_MAX) {
    throw resourceExhausted(`${interventions.length} interventions; at most ${INTERVENTIONS_MAX}`, {
      field: 'interventions',
      retryable: false,
      details: { limit: INTERVENTIONS_MAX },
    });
  }
  const slots = new Map<string, { layout: Layout; factor: Float64Array; value: Float64Array }>();
  interventions.forEach((change, i) => {
    const field = `interventions[${i}]`;
    let slot = slots.get(change.hook);
    if (!slot) {
      const layout = layoutOf(config, sizes, change.hook, field);
      const count = elementCount(layout.shape);
      const rows = layout.byElement ? count : count / layout.width;
      slot = { layout, factor: new Float64Array(rows).fill(1), value: new Float64Array(count) };
      slots.set(change.hook, slot);
    }
    fold(slot, sizes, change, field);
  });
  const feeds: Record<string, Tensor<'f32'>> = {};
  for (const [hook, { layout, factor, value }] of slots) {
    const factorShape = layout.byElement ? layout.shape : [...layout.shape.slice(0, -1), 1];
    feeds[factorFeed(hook)] = tensor('f32', factorShape, Float32Array.from(factor));
    feeds[valueFeed(hook)] = tensor('f32', layout.shape, Float32Array.from(value));
  }
  return feeds;
}

function layoutOf(config: ModelConfig, sizes: BatchSizes, hook: string, field: string): Layout {
  if (hook === 'logits') {
    throw invalidArgument(`${field}: nothing is computed from logits`, { field: `${field}.hook` });
  }
  const { axes, shape } = hookPoint(config, hook);
  const full = shape.map((n) => (n === 'pos' ? sizes.pos : n));
  const byElement = axes.includes('key_pos');
  const headAxis = axes.findIndex((axis) => axis === 'head' || axis === 'kv_head');
  return {
    positions: sizes.pos,
    heads: headAxis < 0 ? 1 : (full[headAxis] as number),
    width: full.at(-1) as number,
    headFirst: headAxis === 0,
    byElement,
    shape: [sizes.batch, ...full],
  };
}

function fold(
  slot: { layout: Layout; factor: Float64Array; value: Float64Array },
  sizes: BatchSizes,
  change: Intervention,
  field: string,
): void {
  const { layout, factor, value } = slot;
  const length = lengthOf(sizes, change.prompt, field);
  const positions = chosen(change.positions, length, `${field}.positions`);
  if (change.heads !== undefined && layout.shape.length < 4) {
    throw wrong(`${field}.heads`, `${change.hook} has no head axis`);
  }
  const heads = chosen(change.heads, layout.heads, `${field}.heads`);
  const [multiply, read] = meaning(layout, change, positions.length, heads.length, field);
  positions.forEach((position, p) => {
    heads.forEach((head, h) => {
      const row = layout.headFirst
        ? (change.prompt * layout.heads + head) * layout.positions + position
        : (change.prompt * layout.positions + position) * layout.heads + head;
      for (let j = 0; j < layout.width; j++) {
        const at = row * layout.width + j;
        value[at] = (value[at] as number) * multiply + read(p, h, j);
        if (layout.byElement) factor[at] = (factor[at] as number) * multiply;
      }
      if (!layout.byElement) factor[row] = (factor[row] as number) * multiply;
    });
  });
}

/** The factor of a change, and its value for the p-th chosen position, the h-th chosen head and element j. */
function meaning(
  layout: Layout,
  change: Intervention,
  positions: number,
  heads: number,
  field: string,
): readonly [number, (p: number, h: number, j: number) => number] {
  const none = () => 0;
  if (change.kind === 'zero') return [0, none];
  if (change.kind === 'scale') {
    const { factor } = change;
    if (factor === undefined || !Number.isFinite(Math.fround(factor))) {
      throw wrong(`${field}.factor`, `a finite number expected, found ${factor}`);
    }
    return [factor, none];
  }
  const { value } = change;
  if (!value) throw wrong(`${field}.value`, `${change.kind} needs a value`);
  const bad = value.data.findIndex((x) => !Number.isFinite(Math.fround(x)));
  if (bad >= 0) {
    throw wrong(`${field}.value`, `element ${bad} is ${value.data[bad]}; finite numbers expected`);
  }
  const { width } = layout;
  const multiply = change.kind === 'add' ? 1 : 0;
  const data = value.data;
  if (data.length === width) return [multiply, (_p, _h, j) => data[j] as number];
  if (data.length === positions * heads * width) {
    return [multiply, (p, h, j) => data[(p * heads + h) * width + j] as number];
  }
  const each =
    heads > 1 || layout.shape.length === 4 ? [positions, heads, width] : [positions, width];
  throw wrong(
    `${field}.value`,
    `shape ${showShape(value.shape)}; ${showShape([width])} or ${showShape(each)} expected`,
  );
}

function lengthOf(sizes: BatchSizes, prompt: number, field: string): number {
  if (!Number.isInteger(prompt) || prompt < 0 || prompt >= sizes.batch) {
    throw wrong(`${field}.prompt`, `${prompt}; prompts 0 to ${sizes.batch - 1}`);
  }
  return sizes.lengths?.[prompt] ?? sizes.pos;
}

function chosen(given: readonly number[] | undefined, size: number, field: string) {
  if (given === undefined) return Array.from({ length: size }, (_, i) => i);
  const bad = given.find((i) => !Number.isInteger(i) || i < 0 || i >= size);
  if (bad !== undefined) throw wrong(field, `${bad} is outside 0 to ${size - 1}`);
  if (new Set(given).size < given.length) throw wrong(field, 'an index stands twice');
  return given;
}

function wrong(field: string, why: string): OperationError {
  return invalidArgument(`${field}: ${why}`, { field });
}
