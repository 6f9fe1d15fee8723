export { type OpenTracing, type OpenTracingOptions, openTracing } from '@heddle/adapters/otel';
export { type Access, connect, type Heddle } from './connect.ts';
export {
  type CapturedPrompts,
  HostAccess,
  type HostAccessDeps,
  type PromptJson,
  promptJson,
  type TargetJson,
  type TokenizeJson,
  targetJson,
} from './host-access.ts';
export { hostReference, type OpenHost, type WeightStore, withHostModel } from './host-model.ts';
export { type HostProvenance, hostProvenance, joinProvenance } from './host-provenance.ts';
export { type HostJobDeps, type HostServiceDeps, hostJobDeps } from './host-service.ts';
export { type Outcome, outcomeOf, waitForJob } from './jobs.ts';
export { IMPORT_TIMEOUT_MS } from './limits.ts';
export type { AppliedLorsa, CollectedRun, RunItem, StreamOptions } from './tensors.ts';
export { type UploadOptions, uploadModel } from './upload-model.ts';
