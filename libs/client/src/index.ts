export { connect, type Heddle } from './connect.ts';
export { hasEnded, type Outcome } from './jobs.ts';
export { IMPORT_TIMEOUT_MS } from './limits.ts';
export type { AppliedLorsa, CollectedRun, RunItem, StreamOptions } from './tensors.ts';
