import type { DType } from '@heddle/tensor';
import { broadcastDims, type Dim } from '../dims.ts';
import type { Attribute, Attributes, Value, ValueInfo } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import type { NdArray } from '../interpret/nd-array.ts';

/** What an op is told when its result's type is inferred. */
export interface Call {
  readonly inputs: readonly ValueInfo[];
  readonly attributes: Attributes;
}

/** Everything that the room knows about an op, in one place: adding an op is adding a rule (and a builder method). */
export interface OpRule {
  /** Types of the outputs; refuses by `refuse` with a reason, to which the builder adds scope, op and shapes. */
  readonly infer: (call: Call) => readonly ValueInfo[];
  /** What the op computes, in fp64, as plainly as it can be said: the oracle. */
  readonly interpret: (inputs: readonly NdArray[], attributes: Attributes) => readonly NdArray[];
  readonly gradient: Gradient | NotDifferentiable;
}

/** A node as its gradient rule sees it. */
export interface Backward {
  readonly g: GraphBuilder;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: Attributes;
  /** Gradient of the loss by each output; undefined where none arrives. `dy` is the first, which does arrive where there is one output. */
  readonly dys: readonly (Value | undefined)[];
  readonly dy: Value;
}

/**
 * One function for each input, called only if its gradient is wanted; undefined for an input that has none (indices, axes).
 * What it returns may still be broadcast: the walker sums it to the shape of the input.
 */
export type Gradient = (backward: Backward) => readonly ((() => Value) | undefined)[];

/** Why no gradient passes: whatever is above such a node gets none from it, which is the true derivative wherever one exists. */
export interface NotDifferentiable {
  readonly notDifferentiable: string;
}

export const truthValue: NotDifferentiable = { notDifferentiable: 'the result is a truth value' };
export const wholeNumber: NotDifferentiable = { notDifferentiable: 'the result is whole numbers' };
export const onlySizes: NotDifferentiable = {
  notDifferentiable: 'the result depends on sizes, not on values',
};

/** Thrown by inference; the builder turns it into a `ShapeError`. */
export class Refusal extends Error {}

export function refuse(reason: string): never {
  throw new Refusal(reason);
}

export function expects(condition: boolean, reason: string | (() => string)): void {
  if (!condition) refuse(typeof reason === 'string' ? reason : reason());
}

export function isFloat(dtype: DType): boolean {
  return dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16';
}

/** Arithmetic is in f32: half precisions are storage, and f64 is what the interpreter computes in anyway. */
export function expectsFloat(inputs: readonly ValueInfo[]): void {
  inputs.forEach(({ dtype }, i) => {
    expects(dtype === 'f32', () => `input ${i} is ${dtype}, not f32`);
  });
}

export function expectsWhole({ dtype }: ValueInfo, what: string): void {
  expects(dtype === 'i64', () => `${what} is ${dtype}, not i64`);
}

export function expectsSameDType(inputs: readonly ValueInfo[]): void {
  const [first] = inputs;
  for (const { dtype } of inputs) {
    expects(dtype === first.dtype, () => `inputs are ${first.dtype} and ${dtype}`);
  }
}

export function broadcast(inputs: readonly ValueInfo[]): readonly Dim[] {
  let shape: readonly Dim[] = [];
  for (const input of inputs) {
    shape = broadcastDims(shape, input.shape) ?? refuse('shapes do not broadcast');
  }
  return shape;
}

/** An axis counted from the front. */
export function normalAxis(axis: number, rank: number): number {
  expects(
    Number.isInteger(axis) && axis >= -rank && axis < rank,
    () => `axis ${axis} is outside rank ${rank}`,
  );
  return axis < 0 ? axis + rank : axis;
}

export function normalAxes(axes: readonly number[], rank: number): readonly number[] {
  const normal = axes.map((axis) => normalAxis(axis, rank));
  expects(new Set(normal).size === normal.length, () => `axes [${axes}] repeat one`);
  return normal;
}

/** The numbers that a whole-number input is known to hold. */
export function contentOf(input: ValueInfo, what: string): readonly Dim[] {
  return input.content ?? refuse(`${what} is not known when the graph is built`);
}

export function wholeContentOf(input: ValueInfo, what: string): readonly number[] {
  return contentOf(input, what).map((n) =>
    typeof n === 'number' ? n : refuse(`${what} is ${n}, which has to be a number`),
  );
}

export function int(attributes: Attributes, name: string, otherwise: number): number {
  const value: Attribute | undefined = attributes[name];
  if (value === undefined) return otherwise;
  expects(typeof value === 'number', () => `attribute ${name} is not a whole number`);
  return value as number;
}

export function ints(attributes: Attributes, name: string): readonly number[] {
  const value = attributes[name];
  expects(Array.isArray(value), () => `attribute ${name} is not a list`);
  return value as readonly number[];
}

export function text(attributes: Attributes, name: string, otherwise: string): string {
  const value = attributes[name] ?? otherwise;
  expects(typeof value === 'string', () => `attribute ${name} is not a text`);
  return value as string;
}

export function float(attributes: Attributes, name: string, otherwise: number): number {
  const value = attributes[name];
  if (value === undefined) return otherwise;
  expects(typeof value === 'object' && 'float' in value, () => `attribute ${name} is not a float`);
  return (value as { float: number }).float;
}

/** Axes left out by a reduction, or kept with size 1. */
export function reducedShape(
  shape: readonly Dim[],
  axes: readonly number[],
  keepDims: boolean,
): readonly Dim[] {
  return keepDims
    ? shape.map((n, i) => (axes.includes(i) ? 1 : n))
    : shape.filter((_, i) => !axes.includes(i));
}
