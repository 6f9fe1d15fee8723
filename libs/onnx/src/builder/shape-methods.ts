import type { Dim } from '../dims.ts';
import { dim } from '../dims.ts';
import type { Value } from '../graph.ts';
import { SLICE_END } from '../ops/pieces.ts';
import type { Operand } from './graph-core.ts';
import { ReduceMethods } from './reduce-methods.ts';

const isSymbolic = (size: Dim): size is string => typeof size === 'string';

export interface SliceOptions {
  readonly axis: number;
  /** 0 when left out; negative numbers count from the end. */
  readonly start?: Dim;
  /** Exclusive; the axis' end when left out. */
  readonly end?: Dim;
  readonly step?: number;
}

/** Ops that move and copy elements. Shapes are lists of sizes, symbolic ones by name. */
export class ShapeMethods extends ReduceMethods {
  /** Axis i of the result is axis perm[i] of x; without perm the axes are reversed. */
  transpose(x: Value, perm?: readonly number[]): Value {
    return this.emit('Transpose', [x], { perm: perm ?? x.shape.map((_, i) => i).reverse() })[0];
  }

  /** One -1 stands for what remains. `reshape(x, ['batch', 'pos', 12, 64])` */
  reshape(x: Value, shape: readonly Dim[]): Value {
    return this.emit('Reshape', [x, this.reshapeTarget(x, shape.map(dim))], {})[0];
  }

  /** 0 and -1 save the graph from computing sizes: most reshapes then need none. */
  private reshapeTarget(x: Value, shape: readonly Dim[]): Value {
    if (shape.includes(0)) return this.dims(shape);
    const cheap = shape.map((n, i) => (typeof n === 'string' && n === x.shape[i] ? 0 : n));
    if (shape.includes(-1) || !cheap.some(isSymbolic)) return this.dims(cheap);
    // One is left to be worked out when it runs: a sum if there is one, because those are computed and not just read.
    const sum = cheap.findIndex((n) => isSymbolic(n) && /[+-]/.test(n));
    return this.dims(cheap.with(sum < 0 ? cheap.findIndex(isSymbolic) : sum, -1));
  }

  /** Two axes: those before `axis` in one, the others in the second. */
  flatten(x: Value, options: { axis?: number } = {}): Value {
    return this.emit('Flatten', [x], { axis: options.axis ?? 1 })[0];
  }

  unsqueeze(x: Value, axes: readonly number[]): Value {
    return this.emit('Unsqueeze', [x, this.constant(axes, 'i64')], {})[0];
  }

  squeeze(x: Value, axes: readonly number[]): Value {
    return this.emit('Squeeze', [x, this.constant(axes, 'i64')], {})[0];
  }

  concat(parts: readonly Value[], options: { axis: number }): Value {
    return this.emit('Concat', parts, { axis: options.axis })[0];
  }

  slice(x: Value, options: SliceOptions): Value {
    const { axis, step = 1, start = step < 0 ? SLICE_END : 0 } = options;
    const { end = step < 0 ? -SLICE_END : SLICE_END } = options;
    const inputs = [x, this.dims([start]), this.dims([end])];
    return this.emit('Slice', [...inputs, this.dims([axis]), this.dims([step])], {})[0];
  }

  /** Pieces of the given sizes, one after the other. */
  split(x: Value, options: { axis: number; sizes: readonly Dim[] }): readonly Value[] {
    return this.emit('Split', [x, this.dims(options.sizes)], { axis: options.axis });
  }

  /** Broadcast to at least this shape, as adding zeros of that shape would. */
  expand(x: Value, shape: readonly Dim[]): Value {
    return this.emit('Expand', [x, this.dims(shape)], {})[0];
  }

  /** x broadcast to the shape of another value. */
  expandLike(x: Value, like: Value): Value {
    const same =
      x.shape.length === like.shape.length && x.shape.every((n, i) => n === like.shape[i]);
    return same ? x : this.emit('Expand', [x, this.dims(like.shape)], {})[0];
  }

  zerosLike(like: Value): Value {
    const attributes = { value: { fill: 0, dtype: like.dtype } };
    return this.emit('ConstantOfShape', [this.dims(like.shape)], attributes)[0];
  }

  tile(x: Value, repeats: readonly Dim[]): Value {
    return this.emit('Tile', [x, this.dims(repeats)], {})[0];
  }

  /** i64: start, start + delta, … below limit. `range('pos')` are the positions. */
  range(limit: Dim, options: { start?: Dim; delta?: number } = {}): Value {
    const { start = 0, delta = 1 } = options;
    const bounds = [start, limit, delta].map((bound) => this.scalar(bound));
    return this.emit('Range', bounds, {})[0];
  }

  /** The sizes of x, i64. */
  shape(x: Value): Value {
    return this.emit('Shape', [x], {})[0];
  }

  /** The number of elements of x, an i64 scalar. */
  size(x: Value): Value {
    return this.emit('Size', [x], {})[0];
  }

  constantOfShape(
    shape: readonly Dim[],
    value: number,
    dtype: 'f32' | 'i64' | 'bool' = 'f32',
  ): Value {
    return this.emit('ConstantOfShape', [this.dims(shape)], { value: { fill: value, dtype } })[0];
  }

  /** Keeps the lower (default) or upper triangle of the last two axes and zeroes the rest; k moves the diagonal up. */
  trilu(x: Value, options: { upper?: boolean; k?: number } = {}): Value {
    const { upper = false, k = 0 } = options;
    return this.emit('Trilu', [x, this.constant(k, 'i64')], { upper: upper ? 1 : 0 })[0];
  }

  /** A size as an f32 operand: a number where it is one, else computed. */
  number(size: Dim): Operand {
    return typeof size === 'number' ? size : this.cast(this.scalar(size), 'f32');
  }

  /** One size as an i64 scalar. */
  protected scalar(size: Dim): Value {
    if (typeof size === 'number') return this.constant(size, 'i64');
    const scalar = this.squeeze(this.dims([size]), [0]);
    (scalar as { content?: readonly Dim[] }).content = [size];
    return scalar;
  }
}
