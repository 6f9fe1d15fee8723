import type { Json } from '@heddle/core';
import type { Handlers } from '@heddle/ports';
import type { LorsaService, StartBaselineRequest } from '@heddle/ports/proto/lorsa';
import { openCheckpoint } from '../checkpoint-files.ts';
import type { LorsaDeps, LorsaPart } from '../part.ts';
import { openUnseen, unseenDeps } from '../unseen.ts';
import { startBaseline } from './baseline.ts';
import { baselineKind } from './baseline-job.ts';
import { type BaselineDeps, baselineRequest, resultOf } from './baseline-request.ts';
import { evaluateKind } from './evaluate-job.ts';
import { checkedEvaluate, kValues } from './evaluate-request.ts';

/** The part that measures: StartEvaluate, StartBaseline, and their jobs. */
export function evaluatePart(deps: LorsaDeps): LorsaPart {
  const { engine, versions, peers } = deps;
  return {
    handlers: evaluateHandlers(deps),
    jobKinds: [
      baselineKind({ engine, versions }),
      evaluateKind({
        engine,
        peers,
        versions,
        baselines: deps,
        unseen: (context, request) => openUnseen(unseenDeps(deps), context, request),
      }),
    ],
  };
}

/** What can be refused is refused before a job exists. */
export function evaluateHandlers(
  deps: BaselineDeps,
): Pick<Handlers<LorsaService>, 'StartEvaluate' | 'StartBaseline'> {
  return {
    async StartEvaluate(request, call) {
      const evaluate = checkedEvaluate(request);
      const { blobs, hub, jobs } = deps;
      const sources = { blobs, hub, jobResult: (id: string) => resultOf(deps, id) };
      const { layer } = await openCheckpoint(sources, evaluate.checkpoint);
      kValues(layer.config, evaluate.top_k);
      if (evaluate.baseline) await baselineRequest(deps, evaluate.checkpoint, 0, call.signal);
      const key = request.client_key;
      const { id } = await jobs.submit('lorsa.evaluate', evaluate as unknown as Json, { key });
      return { job: { id } };
    },

    async StartBaseline(request: StartBaselineRequest, call) {
      const { checkpoint, seed } = request;
      // The question is the key: an evaluation that wants this baseline finds it.
      const asked = await baselineRequest(deps, checkpoint, seed, call.signal);
      const { id } = await startBaseline(deps, asked);
      return { job: { id } };
    },
  };
}
