export type { BlobDigest, BlobStat, Blobs } from './blobs.ts';
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
export type { Journal, JournalEvent } from './journal.ts';
export type {
  Clock,
  Events,
  Hub,
  Log,
  LogFields,
  MetricSpec,
  Metrics,
  ModelFolder,
  RandomAccessFile,
  TokenizeOptions,
  Tokenizer,
} from './platform.ts';
export type { DeadLetter, Delivery, PullOptions, WorkQueue } from './work-queue.ts';
