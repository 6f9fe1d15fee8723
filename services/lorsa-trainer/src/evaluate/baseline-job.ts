import type { JobKind, Snapshot, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { dataLoss, OperationError } from '@heddle/core';
import { figures } from '@heddle/interp/lorsa';
import {
  decodeSaeState,
  encodeSaeState,
  type SaePilot,
  type SaeTrainingState,
} from '@heddle/interp/sae';
import type { BaselineRequest } from './baseline-request.ts';
import {
  advance,
  type Baseline,
  type BaselineJobDeps,
  begun,
  prepared,
} from './baseline-training.ts';
import { deadFeatures, finished, layerOf, measuredOn } from './finish-baseline.ts';
import { PILOT_TOKENS } from './limits.ts';
import type { SaeReport, SaeSettings } from './sae-steps.ts';

/** Multiply-adds a second of one busy core. */
const RATE = 3e10;

/** The kind `lorsa.baseline`: a TopK autoencoder on a training's own targets, resumed to the same bits. */
export function baselineKind(deps: BaselineJobDeps): JobKind {
  return {
    kind: 'lorsa.baseline',
    limits: { concurrency: 1 },
    estimate: (json) => {
      const request = json as unknown as BaselineRequest;
      const { d_model, d_sae, batch } = request;
      const parameters = 2 * d_model * d_sae;
      // A hundred tokens to a sequence; five products of tokens and parameters in a step.
      const tokens = 100 * batch;
      const seconds = (stepsInAll(request) * 5 * tokens * parameters) / 2 / RATE;
      return { seconds, bytes: 4 * (5 * parameters + 6 * tokens * d_sae) };
    },
    split: () => [{ input: null }],
    run: (task, context) => runBaseline(deps, task, context),
  };
}

const stepsInAll = ({ steps, pilot_steps, learning_rates }: BaselineRequest): number =>
  steps + pilot_steps * learning_rates.length;

/** How far a baseline is: which rates were tried, and the training that runs now. */
interface Standing {
  readonly pilots: readonly SaePilot[];
  readonly state: SaeTrainingState;
}

async function runBaseline(
  deps: BaselineJobDeps,
  task: Task,
  context: TaskContext,
): Promise<TaskOutput> {
  const started = context.clock.monotonic();
  const request = task.request as unknown as BaselineRequest;
  const baseline = await prepared(deps, request, context);
  const saved = await context.load();
  let at = saved ? takenUp(baseline, saved) : { pilots: [], state: await begun(baseline) };
  if (!saved) await context.save(snapshot(baseline, at));
  while (at.pilots.length < request.learning_rates.length) {
    const pilots = [...at.pilots, await pilot(baseline, at)];
    at = { pilots, state: await begun(baseline) };
    await context.save(snapshot(baseline, at));
  }
  const rate = bestRate(at.pilots);
  const settings = { ...baseline.settings, rate: { ...baseline.settings.rate, peak: rate } };
  const state = await trained(baseline, settings, at);
  const seconds = (context.clock.monotonic() - started) / 1000;
  return finished(baseline, state, { seconds, rate, pilots: at.pilots });
}

/** A short training at the next rate, its schedules shortened with it; what it leaves of the first training text. */
async function pilot(baseline: Baseline, at: Standing): Promise<SaePilot> {
  const { request, settings, shards } = baseline;
  const rate = request.learning_rates[at.pilots.length] ?? settings.rate.peak;
  const share = request.pilot_steps / settings.steps;
  const short: SaeSettings = {
    ...settings,
    steps: request.pilot_steps,
    rate: {
      ...settings.rate,
      peak: rate,
      warmupSteps: Math.ceil(settings.rate.warmupSteps * share),
    },
    topK: { ...settings.topK, steps: Math.ceil(settings.topK.steps * share) },
  };
  try {
    const layer = layerOf(baseline, await trained(baseline, short, at));
    const { fvu } = (await measuredOn(baseline, layer, shards.train, PILOT_TOKENS)).figures;
    return { rate, fvu: Number.isFinite(fvu.value) ? fvu.value : null };
  } catch (thrown) {
    const { code, details } = OperationError.from(thrown);
    if (code === 'failed_precondition' && details['tensor'] !== undefined)
      return { rate, fvu: null };
    throw thrown;
  }
}

/** Errors: `failed_precondition` when every rate blew up. */
function bestRate(pilots: readonly SaePilot[]): number {
  const left = (one: SaePilot) => one.fvu ?? Number.POSITIVE_INFINITY;
  const [best] = [...pilots].sort((a, b) => left(a) - left(b));
  if (best && best.fvu !== null) return best.rate;
  throw new OperationError({
    code: 'failed_precondition',
    message: `the baseline blew up at every learning rate that was tried: ${pilots.map(({ rate }) => rate).join(', ')}`,
    field: 'checkpoint',
    retryable: false,
  });
}

/** Steps to the end of `settings`, saving on the way. A stop request saves where the training stands and is then thrown. */
async function trained(
  baseline: Baseline,
  settings: SaeSettings,
  { pilots, state: first }: Standing,
): Promise<SaeTrainingState> {
  const { context } = baseline;
  let state = first;
  while (state.step < settings.steps) {
    const standsAt = { pilots, state };
    try {
      const done = await advance(baseline, settings, state);
      state = done.state;
      publish(baseline, { pilots, state }, done.report);
    } catch (error) {
      if (context.signal.aborted) await context.pulse(() => snapshot(baseline, standsAt));
      throw error;
    }
    const after = { pilots, state };
    const atCheckpoint = state.step % settings.checkpointSteps === 0;
    if (atCheckpoint && state.step < settings.steps) await context.save(snapshot(baseline, after));
    await context.pulse(() => snapshot(baseline, after));
  }
  return state;
}

/** Goes on from a checkpoint. Errors: `data_loss` when it belongs to another baseline. */
function takenUp({ manifest, context }: Baseline, saved: Snapshot): Standing {
  const { state, manifest: before } = decodeSaeState(saved.bytes);
  if (before.request !== manifest.request) {
    throw dataLoss('the checkpoint belongs to another baseline');
  }
  if (before.engine !== manifest.engine || before.threads !== manifest.threads) {
    context.log.warn('resumed on another engine: the result may differ in rounding', {
      checkpoint: `${before.engine}, ${before.threads} threads`,
      here: `${manifest.engine}, ${manifest.threads} threads`,
    });
  }
  return { state, pilots: before.pilots };
}

const stepsDone = ({ request }: Baseline, { pilots, state }: Standing): number =>
  pilots.length * request.pilot_steps + state.step;

function snapshot(baseline: Baseline, at: Standing): Snapshot {
  const { manifest, shards } = baseline;
  return {
    bytes: encodeSaeState(at.state, { ...manifest, pilots: at.pilots }),
    cursor: stepsDone(baseline, at),
    references: shards.references(),
  };
}

function publish(
  baseline: Baseline,
  at: Standing,
  { sums, loss, gradientNorm, rate }: SaeReport,
): void {
  const { context, request } = baseline;
  const { fvu, l0 } = figures(sums);
  const dead = deadFeatures(at.state, request);
  const isPilot = at.pilots.length < request.learning_rates.length;
  const what = isPilot ? `trying rate ${at.pilots.length + 1}` : 'baseline';
  context.progress({
    done: stepsDone(baseline, at),
    total: stepsInAll(request),
    unit: 'steps',
    message: `${what}: FVU ${fvu.toFixed(4)}, L0 ${l0.toFixed(1)}, dead ${dead}`,
    figures: {
      loss,
      fvu,
      l0,
      dead_features: dead,
      gradient_norm: gradientNorm,
      learning_rate: rate,
    },
  });
}
