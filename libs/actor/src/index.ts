export {
  ActorHost,
  type ActorHostOptions,
  type Append,
  type Behaviour,
} from './host/actor-host.ts';
export { jobBehaviour } from './job/behaviour.ts';
export { decodeEvent, encodeEvent } from './job/codec.ts';
export { effectsOf, type JobEffect, type PushTask } from './job/effects.ts';
export type { JobError, JobEvent } from './job/events.ts';
export { type GcInput, type GcPlan, planGc } from './job/gc.ts';
export type { JobMessage, JobReply } from './job/messages.ts';
export {
  fold,
  holds,
  initialState,
  isSettled,
  type JobState,
  type JobStatus,
  ownerOf,
} from './job/state.ts';
export { transition } from './job/transition.ts';
export { JOB_LIMITS, KIND_DEFAULTS, TENANT_QUOTAS } from './limits.ts';
export type { GcOptions, GcReport } from './runtime/collect.ts';
export type { ListOptions } from './runtime/job-directory.ts';
export type {
  Estimate,
  JobKind,
  KindLimits,
  Progress,
  Snapshot,
  Task,
  TaskContext,
  TaskOutput,
  TaskResult,
  TaskSpec,
} from './runtime/job-kind.ts';
export {
  type JobResult,
  JobRuntime,
  type JobRuntimeOptions,
  type SubmitOptions,
} from './runtime/job-runtime.ts';
export type { JobView, ViewStatus } from './runtime/job-view.ts';
export { jobMetrics } from './runtime/metrics.ts';
export { type JobFile, outcomeWithFiles } from './runtime/outcome-with-files.ts';
export { provenanceMessage, REQUEST_CHARACTERS_MAX } from './runtime/provenance-message.ts';
export type { TenantQuotas } from './runtime/quotas.ts';
export type { StopReport } from './runtime/workers.ts';
