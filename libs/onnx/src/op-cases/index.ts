import { axisCases } from './axis-cases.ts';
import type { BuiltCase } from './built-case.ts';
import type { OpCase } from './case-kit.ts';
import { elementwiseCases } from './elementwise-cases.ts';
import { indexCases } from './index-cases.ts';
import { productCases } from './product-cases.ts';
import { shapeCases } from './shape-cases.ts';

export { type BuiltCase, buildCase } from './built-case.ts';
export type { OpCase } from './case-kit.ts';

/** Uses of every op: what gradients are checked on here, and ONNX Runtime in test/golden. */
export const OP_CASES: readonly OpCase[] = [
  ...elementwiseCases,
  ...axisCases,
  ...productCases,
  ...shapeCases,
  ...indexCases,
];

/** Truth values and whole numbers alone have nothing to differentiate. */
export const isDifferentiable = ({ floatInputs, floatOutputs }: BuiltCase): boolean =>
  floatInputs.length > 0 && floatOutputs.length > 0;
