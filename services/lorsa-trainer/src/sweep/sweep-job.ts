import type { Task, TaskContext, TaskOutput } from '@heddle/actor';
import { type JobKind, type JobRuntime, type JobView, outcomeWithFiles } from '@heddle/actor';
import { dataLoss, type Json, OperationError } from '@heddle/core';
import { type Blobs, decodeOutcome } from '@heddle/ports';
import type { ActivationSource } from '../activation-source.ts';
import { type HostSizes, layerHooks } from '../host-layer.ts';
import { SWEEPS_WAITING } from '../limits.ts';
import { settingsFor } from '../lorsa-settings.ts';
import { asJson, type TrainRequest } from '../train-request.ts';
import { pointsOf, type SweepRequest } from './sweep-request.ts';

export interface SweepDeps {
  readonly jobs: Pick<
    JobRuntime,
    'submit' | 'get' | 'wait' | 'result' | 'cancel' | 'pause' | 'resume'
  >;
  readonly activations: ActivationSource;
  readonly sizes: (model: string) => Promise<HostSizes>;
}

/** One line of the table. Figures are null for a point that failed, whose error is then told. */
export type SweepRow = {
  readonly layer: number;
  readonly n_ov_heads: number;
  readonly top_k: number;
  readonly seed: number;
  readonly job: string;
  readonly state: string;
  readonly fvu: number | null;
  readonly l0: number | null;
  readonly dead_heads: number | null;
  readonly loss: number | null;
  readonly seconds: number | null;
  readonly error: string;
};

/**
 * The kind `lorsa.sweep`: one pass over the text for all layers, then a `lorsa.train` per point under keys of its own
 * name, so that a sweep that is executed twice trains once. It only waits: trainings need none of its places.
 */
export function sweepKind(deps: SweepDeps): JobKind {
  return {
    kind: 'lorsa.sweep',
    limits: { concurrency: SWEEPS_WAITING },
    split: () => [{ input: null }],
    run: (task, context) => runSweep(deps, task, context),
  };
}

async function runSweep(deps: SweepDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const request = task.request as unknown as SweepRequest;
  const activations = await activationsOf(deps, request, context);
  const points = pointsOf(request).map((point) => ({
    ...point,
    data: { prompts: [], corpus: '', tokens_max: 0, activations },
  }));
  const ids: string[] = [];
  try {
    for (const [index, point] of points.entries()) {
      const key = `sweep ${task.job} ${index}`;
      const view = await deps.jobs.submit('lorsa.train', asJson(point), { key });
      if (view.status === 'paused') await deps.jobs.resume(view.id);
      ids.push(view.id);
      await context.pulse();
    }
    for (const [index, id] of ids.entries()) {
      tell(context, index, points);
      await deps.jobs.wait(id, context.signal);
    }
    tell(context, points.length, points);
  } catch (thrown) {
    await passOn(deps, context, ids);
    throw thrown;
  }
  const rows: SweepRow[] = [];
  for (const [index, id] of ids.entries()) {
    rows.push(await rowOf(deps, context.blobs, points[index] as TrainRequest, id));
  }
  const failed = rows.filter(({ fvu }) => fvu === null).length;
  return outcomeWithFiles(context.blobs, {
    summary: { points: rows, trained: rows.length - failed, failed, activations },
    files: [],
    provenance: { model: request.base.model, seed: request.base.seed },
  });
}

/** The job that captures all layers in one pass; the same one after a restart. */
async function activationsOf(
  { activations, sizes }: SweepDeps,
  { base, layers }: SweepRequest,
  context: TaskContext,
): Promise<string> {
  const saved = await context.load();
  if (saved) return decode(saved.bytes);
  const { model, data } = base;
  const hooks = layers.map(layerHooks).flatMap(({ hookIn, hookOut }) => [hookIn, hookOut]);
  const { context: tokens } = settingsFor(base, await sizes(model));
  const job = await activations.start({ model, hooks, data, context: tokens }, context.signal);
  await context.save({ bytes: new TextEncoder().encode(JSON.stringify({ job })), cursor: 0 });
  return job;
}

function decode(bytes: Uint8Array): string {
  const { job } = JSON.parse(new TextDecoder().decode(bytes)) as { readonly job?: Json };
  if (typeof job === 'string') return job;
  throw dataLoss('the checkpoint of a sweep names no activations');
}

function tell(context: TaskContext, done: number, points: readonly TrainRequest[]): void {
  const next = points[done];
  context.progress({
    done,
    total: points.length,
    unit: 'trainings',
    message: next ? `training ${nameOf(next)}` : 'all trained',
  });
}

function nameOf({ layer, architecture: { n_ov_heads, top_k }, seed }: TrainRequest): string {
  const sizes = [n_ov_heads > 0 ? `${n_ov_heads} heads` : '', top_k > 0 ? `K ${top_k}` : ''];
  return [`layer ${layer}`, ...sizes.filter((size) => size !== ''), `seed ${seed}`].join(', ');
}

/** A sweep that is cancelled or paused takes its trainings with it; one that is only handed over leaves them at work. */
async function passOn({ jobs }: SweepDeps, { signal }: TaskContext, ids: readonly string[]) {
  if (!signal.aborted) return;
  const { reason } = OperationError.from(signal.reason).details;
  const stop = reason === 'ended' ? 'cancel' : reason === 'paused' ? 'pause' : undefined;
  if (stop === undefined) return;
  // One that has ended meanwhile refuses, and that is as well.
  await Promise.allSettled(ids.map((id) => jobs[stop](id)));
}

async function rowOf(
  { jobs }: SweepDeps,
  blobs: Blobs,
  point: TrainRequest,
  job: string,
): Promise<SweepRow> {
  const view = await jobs.get(job).catch((thrown: unknown) => OperationError.from(thrown));
  const summary =
    view instanceof OperationError || view.status !== 'completed'
      ? undefined
      : decodeOutcome(await blobs.read((await jobs.result(job)).digest)).summary;
  const figure = (name: string) => {
    const value = summary?.[name];
    return typeof value === 'number' ? value : null;
  };
  const { layer, seed, architecture } = point;
  return {
    layer,
    n_ov_heads: figure('heads') ?? architecture.n_ov_heads,
    top_k: figure('top_k') ?? architecture.top_k,
    seed,
    job,
    state: view instanceof OperationError ? 'gone' : view.status,
    fvu: figure('fvu'),
    l0: figure('l0'),
    dead_heads: figure('dead_heads'),
    loss: figure('loss'),
    seconds: figure('seconds'),
    error: view instanceof OperationError ? view.message : errorOf(view),
  };
}

function errorOf({ status, error }: JobView): string {
  if (status === 'completed') return '';
  return error?.message ?? status;
}
