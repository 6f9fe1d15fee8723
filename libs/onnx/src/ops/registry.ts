import { elementwise } from './elementwise.ts';
import { index } from './index-ops.ts';
import { matmul } from './matmul.ts';
import { nn } from './nn.ts';
import { reduce } from './reduce.ts';
import type { OpRule } from './rule.ts';
import { shape } from './shape.ts';

const FAMILIES = { ...elementwise, ...reduce, ...matmul, ...nn, ...shape, ...index };

export type OpName = keyof typeof FAMILIES;

/** Every op that the builder offers, by its ONNX name. */
export const OPS: Readonly<Record<OpName, OpRule>> = FAMILIES;
