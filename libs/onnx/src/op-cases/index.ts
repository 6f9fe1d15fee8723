import { axisCases } from './axis-cases.ts';
import { elementwiseCases } from './elementwise-cases.ts';
import { indexCases } from './index-cases.ts';
import { productCases } from './product-cases.ts';
import { shapeCases } from './shape-cases.ts';

export { CaseKit, type OpCase } from './case-kit.ts';

/** Uses of every op: what gradients are checked on here, and ONNX Runtime in test/golden. */
export const OP_CASES = [
  ...elementwiseCases,
  ...axisCases,
  ...productCases,
  ...shapeCases,
  ...indexCases,
];
