export type { BlobDigest, BlobStat, Blobs } from './blobs.ts';
export { type Caller, type Callers, ROLES, type Role } from './callers.ts';
export type {
  Engine,
  EngineReport,
  EngineUsage,
  Feed,
  Outputs,
  Plan,
  Program,
  Provider,
  RunOptions,
  Step,
} from './engine.ts';
export { engineVersions } from './engine-versions.ts';
export { decodeOutcome, encodeOutcome, type JobArtifact, type JobOutcome } from './job-result.ts';
export type { Journal, JournalEvent } from './journal.ts';
export type {
  Kernels,
  KernelsEstimate,
  RowGradients,
  SparseBatch,
  SparseChoice,
  SparseGate,
  SparseKernels,
  SparsePairs,
  SparseSizes,
  SparseSums,
  SparseUpdate,
} from './kernels.ts';
export type {
  BringOptions,
  ContentFile,
  ContentReference,
  MissingFile,
  ModelImports,
  ModelSource,
  RemoteModels,
  SourceFile,
} from './model-content.ts';
export type { LoadedModel, ModelStore, WeightReader } from './model-store.ts';
export type {
  Clock,
  Events,
  Hub,
  HubOptions,
  Log,
  LogFields,
  MetricSpec,
  Metrics,
  ModelFolder,
  RandomAccessFile,
  TokenizeOptions,
  Tokenizer,
} from './platform.ts';
export type {
  BidiStream,
  CallContext,
  CallOptions,
  Client,
  Handlers,
  Init,
  ServerStream,
  Unary,
} from './rpc.ts';
export type { Clients, ContractHandlers, ContractName, Contracts, Service } from './service.ts';
export {
  CHUNK_BYTES,
  dtypeOf,
  fromInline,
  type LabelledTensor,
  TensorCollector,
  type TensorLabel,
  type TensorPart,
  tensorParts,
  toInline,
} from './tensor-stream.ts';
export { TOKEN_DEFAULTS, type Tokens } from './tokens.ts';
export {
  NO_TRACING,
  type Span,
  type SpanAttributes,
  type SpanError,
  type SpanKind,
  type SpanSpec,
  type TraceContext,
  type Tracing,
} from './tracing.ts';
export type { DeadLetter, Delivery, PullOptions, PushOptions, WorkQueue } from './work-queue.ts';
