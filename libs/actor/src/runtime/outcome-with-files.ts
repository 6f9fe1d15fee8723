import type { Json } from '@heddle/core';
import { type Blobs, encodeOutcome, type JobArtifact } from '@heddle/ports';
import type { TaskOutput } from './job-kind.ts';

/** A file that a job made, before it is a blob. */
export interface JobFile extends Pick<JobArtifact, 'name' | 'mediaType'> {
  readonly content: Uint8Array;
}

/** The last output of a job: its files kept as blobs, and the outcome that names them. */
export async function outcomeWithFiles(
  blobs: Blobs,
  made: {
    readonly summary: { readonly [name: string]: Json };
    readonly files: readonly JobFile[];
    readonly provenance: { readonly [name: string]: Json };
  },
): Promise<TaskOutput> {
  const artifacts: JobArtifact[] = [];
  for (const { name, mediaType, content } of made.files) {
    const { digest, bytes } = await blobs.put(content);
    artifacts.push({ name, digest, bytes, mediaType });
  }
  return {
    bytes: encodeOutcome({ summary: made.summary, artifacts }),
    references: artifacts.map(({ digest }) => digest),
    provenance: made.provenance,
  };
}
