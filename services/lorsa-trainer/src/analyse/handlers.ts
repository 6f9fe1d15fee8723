import { HostAccess, targetJson } from '@heddle/client';
import type { LorsaLayer } from '@heddle/interp/lorsa';
import { buildAnalysis, forInspection } from '@heddle/interp/lorsa/heads';
import type { Handlers } from '@heddle/ports';
import type { LorsaService } from '@heddle/ports/proto/lorsa';
import type { Tensor } from '@heddle/tensor';
import { type OpenCheckpoint, openCheckpoint } from '../checkpoint-files.ts';
import { baselineRequest } from '../evaluate/baseline-request.ts';
import type { LorsaDeps, LorsaPart } from '../part.ts';
import { trainingResult } from '../training-result.ts';
import { analyseDeps } from './analyse-deps.ts';
import { analyseKind } from './analyse-job.ts';
import { asJson, checkedAnalysis, sameQuestion } from './analysis-request.ts';
import { ByteCache } from './byte-cache.ts';
import { describeHead } from './describe-head.ts';
import { ANALYSIS_KIND, FinishedAnalyses } from './finished-analyses.ts';
import { headAlone } from './head-alone.ts';
import { CHECKPOINT_CACHE_BYTES_MAX } from './limits.ts';
import { listHeads } from './list-heads.ts';

/** The part that looks at heads: StartAnalysis, ListHeads, DescribeHead, and the kind `lorsa.analyse`. */
export function analysisPart(deps: LorsaDeps): LorsaPart {
  const checkpoint = checkpointsOf(deps);
  const layerOf = async (name: string) => (await checkpoint(name)).layer;
  const analyses = new FinishedAnalyses({ ...deps, checkpoint });
  const hosts = new HostAccess({ ...deps, activation: deps.peers.activation });
  return {
    handlers: headHandlers({
      jobs: deps.jobs,
      analyses,
      checkpoint,
      hosts,
      requireBaseline: async (training, signal) => {
        await baselineRequest(deps, training, 0, signal);
      },
    }),
    jobKinds: [analyseKind(analyseDeps(deps, layerOf), analyses)],
  };
}

export interface HeadHandlerDeps {
  readonly jobs: Pick<LorsaDeps['jobs'], 'submit'>;
  readonly analyses: FinishedAnalyses;
  readonly checkpoint: (name: string) => Promise<OpenCheckpoint>;
  readonly hosts: Pick<HostAccess, 'target' | 'capture'>;
  /** Errors: where no TopK SAE can stand beside this checkpoint. */
  readonly requireBaseline: (checkpoint: string, signal: AbortSignal) => Promise<void>;
}

/** The contract's side: requests checked in, answers out. */
export function headHandlers(
  deps: HeadHandlerDeps,
): Pick<Handlers<LorsaService>, 'StartAnalysis' | 'ListHeads' | 'DescribeHead'> {
  const { jobs, analyses, checkpoint, hosts } = deps;
  return {
    async StartAnalysis(request, call) {
      const { digest, layer } = await checkpoint(request.checkpoint);
      requireInspectable(layer);
      const analysis = checkedAnalysis(request, digest);
      if (analysis.baseline) await deps.requireBaseline(request.checkpoint, call.signal);
      // What was asked before is answered with the same job; a corpus may hold other text by now, and its job finds out.
      const there =
        analysis.data.corpus === '' &&
        (await analyses.like((other) => sameQuestion(other, analysis)));
      if (there) return { job: { id: there.id } };
      const key = request.client_key;
      const { id } = await jobs.submit(ANALYSIS_KIND, asJson(analysis), { key });
      return { job: { id } };
    },

    ListHeads: (request, call) =>
      listHeads(
        {
          analyses,
          token: (model, token) => hosts.target(model, token, 'token', call.signal),
        },
        { ...request, token: request.token && checkedToken(request.token) },
      ),

    DescribeHead: (request, call) =>
      describeHead(
        {
          analyses,
          layer: async (name) => (await checkpoint(name)).layer,
          capture: async (model, hook, sequences, signal) => {
            const captured = await hosts.capture(model, sequences, [hook], signal);
            return sequences.map((_, at) => captured.value(at, hook) as Tensor<'f32'>);
          },
        },
        request,
        call.signal,
      ),
  };
}

/** Refuses now what the job would refuse later: a normalisation or an activation whose heads cannot be looked at one by one. */
function requireInspectable(layer: LorsaLayer): void {
  const { config } = forInspection(headAlone(layer, 0));
  buildAnalysis(config);
}

type TargetToken = NonNullable<Parameters<typeof targetJson>[0]>;

/** Errors: `invalid_argument` for a token that is neither text nor id. */
function checkedToken(token: TargetToken): TargetToken {
  targetJson(token, 'token');
  return token;
}

/**
 * Checkpoints by name. Those of finished jobs never change and are kept for the next card; a file, and the last
 * checkpoint of a training that is not finished, are read again.
 */
function checkpointsOf(deps: LorsaDeps): (name: string) => Promise<OpenCheckpoint> {
  const { blobs, hub, jobs } = deps;
  const kept = new ByteCache<{ readonly bytes: number; readonly open: OpenCheckpoint }>(
    CHECKPOINT_CACHE_BYTES_MAX,
  );
  const read = (name: string) =>
    openCheckpoint({ blobs, hub, jobResult: trainingResult(deps) }, name);
  return async (name) => {
    if (name === '' || isCheckpointPath(name)) return read(name);
    const { result } = await jobs.get(name);
    if (!result) return read(name);
    const { open } = await kept.get(result.digest, async () => {
      const opened = await read(name);
      const { weights } = opened.layer;
      const bytes = Object.values(weights).reduce((sum, t) => sum + t.data.byteLength, 0);
      return { bytes, open: opened };
    });
    return open;
  };
}

/** A checkpoint named by its folder or file, not by the job that made it. */
const isCheckpointPath = (name: string): boolean =>
  name.includes('/') || name.endsWith('.safetensors') || name === '.';
