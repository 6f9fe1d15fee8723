import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JobRuntime } from '@heddle/actor';
import { withHostModel } from '@heddle/client';
import { invalidArgument, type Json, notFound } from '@heddle/core';
import type { CallContext, Handlers, Init } from '@heddle/ports';
import type { ExportRequest, ExportResponse, LorsaService } from '@heddle/ports/proto/lorsa';
import { type CheckpointSources, checkpointFiles } from '../checkpoint-files.ts';
import { requireLayer } from '../host-layer.ts';
import type { LorsaDeps, LorsaPart } from '../part.ts';
import { checkedData } from '../train-request.ts';
import { trainingResult } from '../training-result.ts';
import type { NormGain } from './before-gain.ts';
import { exportFiles } from './export-files.ts';
import { type ImportRequest, importKind } from './import-job.ts';
import { EXPORT_CHUNK_BYTES } from './limits.ts';

/** The part that exchanges checkpoints with other tools: StartImport, Export, and `lorsa.import`. */
export function interchangePart(deps: LorsaDeps): LorsaPart {
  const { blobs, hub, jobs, peers, engine, versions, activations } = deps;
  const jobResult = trainingResult({ blobs, jobs });
  const sources: CheckpointSources = { blobs, hub, jobResult };
  return {
    handlers: interchangeHandlers({ sources, jobs }),
    jobKinds: [
      importKind({
        sources,
        blobs,
        engine,
        versions,
        activations,
        host: async (model) => {
          const { model: info } = await peers.activation.DescribeModel({ model });
          if (!info) throw notFound(`no model ${model}`, { field: 'model' });
          return { d_model: info.d_model, digest: info.digest };
        },
        gain: (model, layer) => readNormGain(deps, model, layer),
        breathe: () => nextTurn(),
      }),
    ],
  };
}

/** Gain and bias of the norm before a layer's attention. */
async function readNormGain(
  { hub, store, peers }: LorsaDeps,
  model: string,
  layer: number,
): Promise<NormGain> {
  const { model: info } = await peers.activation.DescribeModel({ model });
  if (!info) throw notFound(`no model ${model}`, { field: 'model' });
  return withHostModel({ hub, store }, info, async ({ model: loaded, reader }) => {
    requireLayer(loaded.config, layer);
    const gain = (await reader.read(`blocks.${layer}.ln1.w`)).data;
    if (loaded.config.norm.kind !== 'layer') return { gain, bias: undefined };
    return { gain, bias: (await reader.read(`blocks.${layer}.ln1.b`)).data };
  });
}

export interface InterchangeHandlerDeps {
  readonly sources: CheckpointSources;
  readonly jobs: Pick<JobRuntime, 'submit'>;
}

/** What can be refused is refused before a job exists. */
export function interchangeHandlers(
  deps: InterchangeHandlerDeps,
): Pick<Handlers<LorsaService>, 'StartImport' | 'Export'> {
  return {
    async StartImport({ checkpoint, model, data, client_key: key }) {
      const asked: ImportRequest = { checkpoint, model, data: checkedData(data) };
      if (asked.data.activations !== '') {
        throw invalidArgument('an import is checked on text, not on cached activations', {
          field: 'data.activations',
        });
      }
      await checkpointFiles(deps.sources, checkpoint); // missing, pickled or no safetensors: said now
      const { id } = await deps.jobs.submit('lorsa.import', asked as unknown as Json, { key });
      return { job: { id } };
    },

    Export: (request, call) => exported(deps, request, call),
  };
}

async function* exported(
  { sources }: InterchangeHandlerDeps,
  { checkpoint, fold }: ExportRequest,
  call: CallContext,
): AsyncGenerator<Init<ExportResponse>> {
  const files = await checkpointFiles(sources, checkpoint);
  for (const { name, content } of exportFiles(files, fold)) {
    yield { file: { name, bytes: content.length } };
    for (let at = 0; at < content.length; at += EXPORT_CHUNK_BYTES) {
      call.signal.throwIfAborted();
      yield { chunk: content.subarray(at, at + EXPORT_CHUNK_BYTES) };
    }
  }
}
