export { AssertionError, assert, present, unreachable } from './assert.ts';
export { canonicalJson, type Json } from './canonical-json.ts';
export {
  CODES,
  type Code,
  type Details,
  dataLoss,
  failedPrecondition,
  invalidArgument,
  notFound,
  OperationError,
  type OperationErrorInit,
  resourceExhausted,
  unimplemented,
} from './operation-error.ts';
export { Rng, type RngState } from './rng.ts';
export { VERSION } from './version.ts';
