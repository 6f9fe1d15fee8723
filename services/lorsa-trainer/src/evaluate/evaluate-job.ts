import type { JobKind, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { canonicalJson, failedPrecondition, type Json } from '@heddle/core';
import { meanOffset, tokensOf } from '@heddle/interp/evaluation';
import { digestOf } from '../programs.ts';
import type { Unseen, UnseenShard } from '../unseen.ts';
import { ensureBaseline, openBaseline } from './baseline.ts';
import { addDownstream, strideOver } from './downstream-pass.ts';
import { type EvaluateRequest, kValues } from './evaluate-request.ts';
import { type EvaluateJobDeps, type Evaluation, finished } from './evaluation-result.ts';
import {
  decodeEvaluation,
  type EvaluationState,
  encodeEvaluation,
  initialEvaluation,
} from './evaluation-state.ts';
import { lorsaSubject, measure, type Subject, saeSubject } from './subject.ts';

/** The kind `lorsa.evaluate`: one task that streams unseen text twice, and resumes at the last whole shard. */
export function evaluateKind(deps: EvaluateJobDeps): JobKind {
  return {
    kind: 'lorsa.evaluate',
    limits: { concurrency: 1 },
    split: () => [{ input: null }],
    run: (task, context) => runEvaluation(deps, task, context),
  };
}

async function runEvaluation(
  deps: EvaluateJobDeps,
  task: Task,
  context: TaskContext,
): Promise<TaskOutput> {
  const request = task.request as unknown as EvaluateRequest;
  const evaluation = await prepared(deps, request, context);
  const saved = await context.load();
  let state = saved
    ? decodeEvaluation(saved.bytes, evaluation.sizes, evaluation.of)
    : initialEvaluation(evaluation.sizes, await firstMean(evaluation.unseen));
  const subjects = subjectsOf(evaluation, state.centre);
  if (state.phase === 'measure') state = await measured(evaluation, subjects, state);
  if (state.phase === 'downstream') state = await downstream(evaluation, subjects, state);
  return finished(evaluation, subjects, state);
}

async function prepared(
  deps: EvaluateJobDeps,
  request: EvaluateRequest,
  context: TaskContext,
): Promise<Evaluation> {
  const { checkpoint, model, data } = request;
  const baseline = request.baseline ? await baselineOf(deps, request, context) : undefined;
  const unseen = await deps.unseen(context, { checkpoint, model, data });
  const { layer, digest } = unseen.checkpoint;
  const topK = kValues(layer.config, request.top_k);
  const sizes = {
    d_model: layer.config.d_model,
    features: layer.config.n_ov_heads,
    kCount: topK.length,
    baseline: baseline !== undefined,
  };
  const { dataDigest } = unseen;
  const parts = {
    request: request as unknown as Json,
    digest,
    dataDigest,
    baseline: baseline?.job,
  };
  const engine = await deps.engine.report();
  const of = digestOf(canonicalJson(parts as Json));
  return { deps, context, request, unseen, topK, baseline, sizes, engine, of };
}

/** The baseline with the training's seed 0, which any other evaluation of the training shares. */
async function baselineOf(
  { baselines }: EvaluateJobDeps,
  { checkpoint }: EvaluateRequest,
  context: TaskContext,
) {
  const { signal } = context;
  const waiting = (job: string) =>
    context.progress({ done: 0, total: 0, unit: 'sequences', message: `training baseline ${job}` });
  try {
    const job = await ensureBaseline(baselines, checkpoint, 0, signal, waiting);
    return { job, layer: await openBaseline(baselines, job) };
  } catch (thrown) {
    if (signal.aborted) await context.pulse(); // says why it was told to stop
    throw thrown;
  }
}

/** The mean of y over the first shard with a valid token. Errors: `failed_precondition` for text of special tokens only. */
async function firstMean(unseen: Unseen): Promise<Float64Array> {
  for await (const { y, valid } of unseen.shards()) {
    const [, , d_model = 0] = y.shape;
    const sum = new Float64Array(d_model);
    let tokens = 0;
    valid.data.forEach((counts, t) => {
      if (counts !== 1) return;
      tokens++;
      for (let d = 0; d < d_model; d++) sum[d] = (sum[d] ?? 0) + (y.data[t * d_model + d] ?? 0);
    });
    if (tokens > 0) return sum.map((value) => Math.fround(value / tokens)); // it is fed in fp32
  }
  throw failedPrecondition('the text has special tokens only: nothing can be measured on it', {
    field: 'data',
  });
}

function subjectsOf({ unseen, topK, baseline }: Evaluation, centre: Float64Array): Subject[] {
  const own = lorsaSubject(unseen.checkpoint.layer, topK, centre);
  return baseline ? [own, saeSubject(baseline.layer, topK, centre)] : [own];
}

/** Every unseen token through every subject. */
async function measured(
  evaluation: Evaluation,
  subjects: readonly Subject[],
  from: EvaluationState,
): Promise<EvaluationState> {
  const { deps, context, unseen } = evaluation;
  const options = { signal: context.signal, between: () => context.pulse() };
  let state = from;
  for await (const shard of unseen.shards(from.shards)) {
    for (const subject of subjects) {
      const sums = subject.name === 'lorsa' ? state.lorsa : state.sae;
      if (sums) await measure(deps.engine, subject, shard, sums, options);
    }
    state = await shardDone(evaluation, state, shard.documents.length);
  }
  const next = { ...state, phase: 'downstream', shards: 0, sequences: 0 } as const;
  await save(evaluation, next);
  return next;
}

/** Every n-th unseen sequence through the host. */
async function downstream(
  evaluation: Evaluation,
  subjects: readonly Subject[],
  from: EvaluationState,
): Promise<EvaluationState> {
  const { deps, context, unseen } = evaluation;
  const { config, hookOut } = unseen.checkpoint.layer;
  const { centre } = from;
  const stride = strideOver(tokensOf(from.lorsa));
  const options = {
    model: unseen.model,
    hook: hookOut,
    d_model: config.d_model,
    subjects,
    mean: meanOffset(from.lorsa).map((off, d) => off + (centre[d] ?? 0)),
    signal: context.signal,
    between: () => context.pulse(),
  };
  let state = from;
  for await (const shard of unseen.shards(from.shards)) {
    const rows = everyNth(shard, stride, state.sequences);
    await addDownstream(deps, shard, rows, state.downstream, options);
    state = await shardDone(evaluation, state, shard.documents.length);
  }
  return state;
}

function everyNth({ documents }: UnseenShard, stride: number, before: number): number[] {
  return Array.from(documents.keys()).filter((row) => (before + row) % stride === 0);
}

async function shardDone(
  evaluation: Evaluation,
  { shards, sequences, ...rest }: EvaluationState,
  count: number,
): Promise<EvaluationState> {
  const { context, unseen } = evaluation;
  const state = { ...rest, shards: shards + 1, sequences: sequences + count };
  const isMeasure = state.phase === 'measure';
  context.progress({
    done: state.sequences + (isMeasure ? 0 : unseen.sequences),
    total: 2 * unseen.sequences,
    unit: 'sequences',
    message: isMeasure ? 'reconstructing' : 'replacing the layer in the model',
  });
  await save(evaluation, state);
  await context.pulse();
  return state;
}

async function save({ context, unseen, of }: Evaluation, state: EvaluationState) {
  await context.save({
    bytes: encodeEvaluation(state, of),
    cursor: state.sequences + (state.phase === 'measure' ? 0 : unseen.sequences),
    references: unseen.references,
  });
}
