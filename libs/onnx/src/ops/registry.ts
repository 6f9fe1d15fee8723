import { arithmeticOps } from './arithmetic.ts';
import { einsumOps } from './einsum.ts';
import { gatherOps } from './gather.ts';
import { layoutOps } from './layout.ts';
import { logicOps } from './logic.ts';
import { matmulOps } from './matmul.ts';
import { nnOps } from './nn.ts';
import { pieceOps } from './pieces.ts';
import { reduceOps } from './reduce.ts';
import type { OpRule } from './rule.ts';
import { sizeOps } from './sizes.ts';
import { topKOps } from './top-k.ts';
import { unaryOps } from './unary.ts';

const FAMILIES = {
  ...unaryOps,
  ...arithmeticOps,
  ...logicOps,
  ...reduceOps,
  ...nnOps,
  ...matmulOps,
  ...einsumOps,
  ...layoutOps,
  ...pieceOps,
  ...sizeOps,
  ...gatherOps,
  ...topKOps,
};

export type OpName = keyof typeof FAMILIES;

/** Every op that the builder offers, by its ONNX name. */
export const OPS: Readonly<Record<OpName, OpRule>> = FAMILIES;
