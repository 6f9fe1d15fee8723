import type { JobKind, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { dataLoss, failedPrecondition } from '@heddle/core';
import { forInspection, OriginalHeads } from '@heddle/interp/lorsa/heads';
import type { HostLayer } from '../host-layer.ts';
import type { Unseen, UnseenShard } from '../unseen.ts';
import type { AnalyseDeps, Analysis } from './analysis.ts';
import { type AnalysisRequest, contentOf } from './analysis-request.ts';
import { BaselineReader } from './baseline-reader.ts';
import { estimateAnalysis } from './estimate-analysis.ts';
import { finishAnalysis } from './finish-analysis.ts';
import { ANALYSIS_KIND, type FinishedAnalyses } from './finished-analyses.ts';
import { HeadRunner } from './head-runner.ts';
import { ORIGINALS_WORK_MAX, RETAINED_BYTES_MAX } from './limits.ts';
import { decodePass, encodePass, encodeTexts, type PassState, TextPass } from './text-pass.ts';

/** The kind `lorsa.analyse`: one task, which goes on from the last shard of the text that it has read. */
export function analyseKind(deps: AnalyseDeps, analyses: FinishedAnalyses): JobKind {
  return {
    kind: ANALYSIS_KIND,
    limits: { concurrency: 1, retainedBytesMax: RETAINED_BYTES_MAX },
    estimate: async (json) => {
      const request = json as unknown as AnalysisRequest;
      return estimateAnalysis(await deps.layer(request.checkpoint), request);
    },
    split: () => [{ input: null }],
    run: (task, context) => runAnalysis(deps, analyses, task, context),
  };
}

async function runAnalysis(
  deps: AnalyseDeps,
  analyses: FinishedAnalyses,
  task: Task,
  context: TaskContext,
): Promise<TaskOutput> {
  const request = task.request as unknown as AnalysisRequest;
  const unseen = await deps.unseen(context, request);
  const { layer, digest } = unseen.checkpoint;
  if (digest !== request.checkpoint_digest) {
    throw failedPrecondition(`${request.checkpoint} was changed since its analysis was asked for`, {
      field: 'checkpoint',
    });
  }
  const host = await deps.host(unseen.model, layerOf(layer.hookIn));
  requireFit(host, layer.config.d_model);
  const sae = request.baseline ? await deps.baseline(request, context) : undefined;
  const content = contentOf(request, {
    model_digest: host.modelDigest,
    data_digest: unseen.dataDigest,
    baseline: sae?.digest ?? '',
  });
  const same = (await analyses.all()).find(({ job }) => job.provenance?.['content'] === content);
  if (same?.job.result) {
    const { digest: blob, references } = same.job.result;
    return {
      blob,
      references,
      ...(same.job.provenance ? { provenance: same.job.provenance } : {}),
    };
  }
  const inspected = forInspection(layer);
  const analysis: Analysis = {
    deps,
    context,
    request,
    unseen,
    host,
    inspected,
    content,
    runner: new HeadRunner(deps.engine, inspected, host),
    baseline: sae && new BaselineReader(deps.engine, sae.layer),
    startedMs: context.clock.monotonic(),
  };
  return finishAnalysis(analysis, await readText(analysis));
}

/** The layer whose input the hook is. */
function layerOf(hook: string): number {
  const layer = /^blocks\.(\d+)\./.exec(hook)?.[1];
  if (layer !== undefined) return Number(layer);
  throw failedPrecondition(`the checkpoint reads ${hook}, which is in no block`, {
    field: 'checkpoint',
  });
}

function requireFit(host: HostLayer, d_model: number): void {
  if (host.d_model === d_model) return;
  throw failedPrecondition(
    `the checkpoint reads ${d_model} numbers a token, the model has ${host.d_model}: name its host as model`,
    { field: 'model', details: { d_model: host.d_model } },
  );
}

/** All of the text goes by once; after each shard what is known so far is saved. */
async function readText(analysis: Analysis): Promise<PassState> {
  const { context, unseen } = analysis;
  let state = await takeUp(analysis);
  for await (const shard of unseen.shards(state.shards)) {
    state = await readShard(analysis, state, shard);
    await context.save({
      bytes: encodePass(state),
      cursor: state.shards,
      references: [...state.texts, ...unseen.references],
    });
  }
  if (state.lorsa.learn.tokens + state.lorsa.score.tokens > 0) return state;
  throw failedPrecondition('the text has special tokens only', { field: 'data' });
}

async function takeUp({ context, request, unseen, host, inspected, baseline }: Analysis) {
  const { config, weights } = inspected;
  // Its cost, [ov_head, d_model] times [d_model, head · d_head] on this thread: nothing else is heard meanwhile.
  const work = weights.W_O.data.length * host.n_heads * host.d_head;
  const { W_O: hostW_O } = host.attention;
  const originals =
    work <= ORIGINALS_WORK_MAX ? new OriginalHeads({ hostW_O, W_O: weights.W_O }) : undefined;
  const saved = await context.load();
  if (saved) {
    const state = decodePass(saved.bytes, originals);
    if (state.dataDigest === unseen.dataDigest) return state;
    throw dataLoss('the analysis was begun on another text; start it again', { field: 'data' });
  }
  const { samples, seed } = request;
  const begin = (heads: number) => TextPass.begin({ heads, samples, seed });
  return {
    shards: 0,
    sequences: 0,
    dataDigest: unseen.dataDigest,
    texts: [],
    originals,
    lorsa: begin(config.n_ov_heads),
    baseline: baseline && begin(baseline.features),
  } satisfies PassState;
}

async function readShard(
  { deps, context, unseen, runner, baseline }: Analysis,
  state: PassState,
  shard: UnseenShard,
): Promise<PassState> {
  const { signal } = context;
  const firstIndex = state.sequences;
  const text = { ...shard, valid: shard.valid.data, firstIndex };
  let done = 0;
  for await (const { heads, hostZ } of runner.read(text, {
    signal,
    withHost: state.originals !== undefined,
  })) {
    state.lorsa.add(heads, shard.documents[done] as bigint);
    state.originals?.add(heads, hostZ);
    done++;
    progress(context, unseen, firstIndex + done);
    await context.pulse();
  }
  if (baseline && state.baseline) {
    let at = 0;
    for await (const features of baseline.read(text, shard.y, signal)) {
      state.baseline.add(features, shard.documents[at++] as bigint);
      await context.pulse();
    }
  }
  const tokens = shard.valid.data.reduce((sum, counts) => sum + counts, 0);
  deps.metrics.add('lorsa_trainer_analysed_tokens_total', tokens);
  const { digest } = await context.blobs.put(encodeTexts(shard));
  return {
    ...state,
    shards: state.shards + 1,
    sequences: firstIndex + done,
    texts: [...state.texts, digest],
  };
}

function progress(context: TaskContext, { sequences }: Unseen, done: number): void {
  const unit = 'sequences';
  context.progress({ done, total: sequences, unit, message: 'looking at every head' });
}
