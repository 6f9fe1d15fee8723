import type { Value } from '../graph.ts';
import type { OpName } from '../ops/registry.ts';
import { ElementwiseMethods } from './elementwise-methods.ts';

export interface ReduceOptions {
  /** All axes when left out. Negative ones count from the end. */
  readonly axes?: readonly number[];
  /** True when left out, as in ONNX. */
  readonly keepDims?: boolean;
}

/** Ops that work along axes without changing the rest. */
export class ReduceMethods extends ElementwiseMethods {
  reduceSum = (x: Value, options?: ReduceOptions): Value => this.reduced('ReduceSum', x, options);
  reduceMean = (x: Value, options?: ReduceOptions): Value => this.reduced('ReduceMean', x, options);
  reduceMax = (x: Value, options?: ReduceOptions): Value => this.reduced('ReduceMax', x, options);
  reduceMin = (x: Value, options?: ReduceOptions): Value => this.reduced('ReduceMin', x, options);
  /** Σ x². */
  reduceSumSquare = (x: Value, options?: ReduceOptions): Value =>
    this.reduced('ReduceSumSquare', x, options);
  /** √Σ x². */
  reduceL2 = (x: Value, options?: ReduceOptions): Value => this.reduced('ReduceL2', x, options);
  /** log Σ eˣ, without overflow. */
  reduceLogSumExp = (x: Value, options?: ReduceOptions): Value =>
    this.reduced('ReduceLogSumExp', x, options);

  /** Index of the largest; of equal ones the lowest. */
  argMax(x: Value, options: { axis?: number; keepDims?: boolean } = {}): Value {
    const { axis = -1, keepDims = false } = options;
    return this.emit('ArgMax', [x], { axis, keepdims: keepDims ? 1 : 0 })[0];
  }

  /** Sum of the elements up to (`exclusive`: before) each place; `reverse` from the end. */
  cumSum(x: Value, options: { axis: number; exclusive?: boolean; reverse?: boolean }): Value {
    const { axis, exclusive = false, reverse = false } = options;
    return this.emit('CumSum', [x, this.constant(axis, 'i64')], {
      exclusive: exclusive ? 1 : 0,
      reverse: reverse ? 1 : 0,
    })[0];
  }

  softmax(x: Value, options: { axis?: number } = {}): Value {
    return this.emit('Softmax', [x], { axis: options.axis ?? -1 })[0];
  }

  logSoftmax(x: Value, options: { axis?: number } = {}): Value {
    return this.emit('LogSoftmax', [x], { axis: options.axis ?? -1 })[0];
  }

  /** (x − mean) / √(variance + epsilon) · scale + bias, over the last axis; variance without Bessel's correction. */
  layerNormalization(
    x: Value,
    scale: Value,
    bias: Value | undefined,
    options: { epsilon: number },
  ): Value {
    const inputs = bias === undefined ? [x, scale] : [x, scale, bias];
    return this.emit('LayerNormalization', inputs, {
      axis: -1,
      epsilon: { float: options.epsilon },
    })[0];
  }

  /** x / √(mean x² + epsilon) · scale, over the last axis; in single ops, so that its scale can be a hook. */
  rmsNormalization(x: Value, scale: Value, options: { epsilon: number }): Value {
    const meanSquare = this.reduceMean(this.mul(x, x), { axes: [-1] });
    return this.mul(this.div(x, this.sqrt(this.add(meanSquare, options.epsilon))), scale);
  }

  private reduced(op: OpName, x: Value, options: ReduceOptions = {}): Value {
    const axes = options.axes ?? x.shape.map((_, i) => i);
    // ONNX reads no axes as all axes; here no axes means none.
    if (axes.length === 0) return x;
    const keepdims = options.keepDims === false ? 0 : 1;
    return this.emit(op, [x, this.constant(axes, 'i64')], { keepdims })[0];
  }
}
