export { gradients, vjp } from './autodiff/gradients.ts';
export type { Operand } from './builder/graph-core.ts';
export type { ReduceOptions } from './builder/reduce-methods.ts';
export type { SliceOptions } from './builder/shape-methods.ts';
export {
  addDims,
  atomsOf,
  type Dim,
  dim,
  evaluateDim,
  multiplyDims,
  productOfDims,
  subtractDims,
} from './dims.ts';
export { decodeModel, encodeModel } from './encode-model.ts';
export type {
  Attribute,
  Attributes,
  Constant,
  Graph,
  NamedValue,
  Node,
  Value,
  ValueInfo,
  Weight,
  WeightLocation,
} from './graph.ts';
export { GraphBuilder } from './graph-builder.ts';
export { inDouble } from './in-double.ts';
export { type InterpretOptions, interpret } from './interpret/interpret.ts';
export type { OpName } from './ops/registry.ts';
export { ShapeError } from './shape-error.ts';
