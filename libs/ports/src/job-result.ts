import type { Json } from '@heddle/core';
import { dataLoss } from '@heddle/core';
import type { BlobDigest } from './blobs.ts';

/** One file that a job made. The bytes are a blob; whoever returns this names it in the output's `references` too. */
export interface JobArtifact {
  /** `graph.json`, `checkpoint.safetensors`; unique within the job. */
  readonly name: string;
  readonly digest: BlobDigest;
  readonly bytes: number;
  readonly mediaType: 'application/json' | 'application/x-safetensors' | 'application/octet-stream';
}

/** What the bytes of every finished job say, whatever its kind: a small summary, and files kept as blobs. */
export interface JobOutcome {
  readonly summary: { readonly [name: string]: Json };
  readonly artifacts: readonly JobArtifact[];
}

/** JSON; numbers that are not finite become null. */
export function encodeOutcome(outcome: JobOutcome): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(outcome));
}

/** Errors: `data_loss` when the bytes are no outcome. */
export function decodeOutcome(bytes: Uint8Array): JobOutcome {
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as JobOutcome;
    if (typeof value.summary === 'object' && Array.isArray(value.artifacts)) return value;
  } catch (cause) {
    throw dataLoss('the result of the job is not JSON', { cause });
  }
  throw dataLoss('the result of the job has no summary and artifacts');
}
