import type { DType } from '@heddle/tensor';
import type { Dim } from './dims.ts';
import type { OpName } from './ops/registry.ts';

/** What is known of a value before anything runs. */
export interface ValueInfo {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  /** What a small whole-number tensor holds, where that is known: the sizes in a shape, the axes of a reduction. */
  readonly content?: readonly Dim[];
}

/** A value of a graph under construction. Made by one builder and used only with it. */
export interface Value extends ValueInfo {
  readonly name: string;
  readonly source: 'input' | 'weight' | 'constant' | 'node';
}

/** A plain number is an INT; a FLOAT says so, and is kept in double until the graph is encoded. */
export type Attribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly fill: number; readonly dtype: DType };

export type Attributes = Readonly<Record<string, Attribute>>;

export interface Node {
  readonly op: OpName;
  /** The scope it was built in, the op and a number: `blocks.0.attn.MatMul_12`. */
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Attributes;
}

export interface NamedValue extends ValueInfo {
  readonly name: string;
}

/** Structure: axes, shapes, epsilons, tables. Floats are doubles here and are rounded once, when encoded. */
export interface Constant extends NamedValue {
  readonly data: Float64Array;
}

/** Bytes of a safetensors file (or of any other), read in place by the engine. */
export interface WeightLocation {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

export interface Weight extends NamedValue {
  readonly location: WeightLocation;
}

/** A finished graph: data, immutable, in topological order. Encode it, interpret it or read it. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  readonly nodes: readonly Node[];
  readonly constants: readonly Constant[];
  readonly weights: readonly Weight[];
  /** Inferred dtype and shape of every value. */
  readonly values: ReadonlyMap<string, ValueInfo>;
}
