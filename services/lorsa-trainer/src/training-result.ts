import { type JobRuntime, type JobView, outcomeWithFiles } from '@heddle/actor';
import { failedPrecondition, OperationError, present } from '@heddle/core';
import { decodeTrainingState } from '@heddle/interp/lorsa';
import type { Blobs } from '@heddle/ports';
import { writeCheckpoint } from './checkpoint-files.ts';
import { trainRequestOf } from './train-request.ts';
import type { TrainManifest } from './training.ts';

export interface ResultDeps {
  readonly blobs: Blobs;
  readonly jobs: Pick<JobRuntime, 'result' | 'get' | 'checkpoint'>;
}

/**
 * The result of a job by id; of a training that has none, because it failed, was stopped or still runs, what its last
 * checkpoint holds. Errors: those of the job runtime.
 */
export function trainingResult({ blobs, jobs }: ResultDeps): (id: string) => Promise<Uint8Array> {
  return async (id) => {
    try {
      return await blobs.read((await jobs.result(id)).digest);
    } catch (thrown) {
      if (OperationError.from(thrown).code !== 'failed_precondition') throw thrown;
      const view = await jobs.get(id);
      const saved = view.kind === 'lorsa.train' ? await jobs.checkpoint(view.id) : undefined;
      if (!saved) throw thrown;
      return unfinished(blobs, view, saved.bytes);
    }
  };
}

async function unfinished(blobs: Blobs, view: JobView, bytes: Uint8Array): Promise<Uint8Array> {
  const { state, manifest } = decodeTrainingState(bytes);
  const { host, activations, backend } = manifest as TrainManifest;
  if (host === undefined) {
    throw failedPrecondition(
      `the last checkpoint of ${view.id} is of an earlier version: resume the training, its next one can be read`,
      { field: 'checkpoint' },
    );
  }
  const { model, seed } = trainRequestOf(view.request);
  const { weights } = writeCheckpoint(host, state, {
    ...{ model, model_digest: host.modelDigest, activations: activations.digest },
    ...{ backend, seed, job: view.id, step: state.step },
  });
  const mediaType = 'application/x-safetensors';
  const made = await outcomeWithFiles(blobs, {
    summary: { steps: state.step },
    files: [{ name: 'checkpoint.safetensors', mediaType, content: weights }],
    provenance: {},
  });
  return present(made.bytes, 'an outcome');
}
