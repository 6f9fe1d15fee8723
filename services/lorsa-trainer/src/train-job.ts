import type { JobKind, Snapshot, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { canonicalJson } from '@heddle/core';
import {
  ADAM_DEFAULTS,
  addSums,
  countSilence,
  DENSE_FREQUENCY,
  deadHeads,
  emptySums,
  encodeTrainingState,
  figures,
  learningRateAt,
  type StepReport,
  type TrainStep,
  topKAt,
} from '@heddle/interp/lorsa';
import { tensor } from '@heddle/tensor';
import { estimateFor } from './backends.ts';
import { begin, noted, takeUp } from './begin-training.ts';
import { curvePoint, onCurve } from './curve.ts';
import type { DataPlace } from './epoch-order.ts';
import { finish } from './finish-training.ts';
import { PLAN_BYTES_MAX } from './limits.ts';
import { settingsFor } from './lorsa-settings.ts';
import { requireFiniteSteps, requireFiniteTensors } from './overflow.ts';
import { digestOf } from './programs.ts';
import { sameTraining, trainRequestOf } from './train-request.ts';
import type { Standing, TrainDeps, Training } from './training.ts';

/** The kind `lorsa.train`: one task, resumed from its last checkpoint to the same bits. */
export function trainKind(deps: TrainDeps): JobKind {
  return {
    kind: 'lorsa.train',
    limits: { concurrency: 1 },
    estimate: async (json) => {
      const request = trainRequestOf(json);
      return estimateFor(deps, request, settingsFor(request, await deps.sizes(request.model)));
    },
    sameRequest: sameTraining,
    split: () => [{ input: null }],
    run: (task, context) => runTraining(deps, task, context),
  };
}

async function runTraining(deps: TrainDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const started = context.clock.monotonic();
  const request = trainRequestOf(task.request);
  const host = await deps.host(request.model, request.layer);
  const engine = await deps.engine.report();
  const asked = digestOf(canonicalJson(task.request));
  const base = { deps, context, job: task.job, request, asked, host, engine };
  const saved = await context.load();
  const { training, standing } = saved ? await takeUp(base, saved) : await begin(base);
  const { settings, backend } = training;
  try {
    if (!saved) await context.save(snapshot(training, standing));
    let at = standing;
    let savedMs = context.clock.monotonic();
    while (at.state.step < settings.steps) {
      at = await advance(training, at);
      const atCheckpoint = at.state.step % settings.checkpointSteps === 0;
      const isApart = context.clock.monotonic() - savedMs >= settings.checkpointApartMs;
      if (atCheckpoint && isApart && at.state.step < settings.steps) {
        await context.save(snapshot(training, at));
        at = { ...at, saved: at.state.step };
        savedMs = context.clock.monotonic();
      }
      const standsAt = at;
      await context.pulse(() => snapshot(training, standsAt));
    }
    const tensors = requireFiniteTensors(training, at);
    const seconds = (context.clock.monotonic() - started) / 1000;
    const run = { seconds, steps: at.state.step - standing.state.step };
    return await finish(training, { ...at, state: { ...at.state, tensors } }, run);
  } finally {
    await backend.close();
  }
}

/** Never of a state that is not finite: the checkpoint before it stays the last. */
function snapshot(training: Training, at: Standing): Snapshot {
  const tensors = requireFiniteTensors(training, at);
  const state = { ...at.state, tensors };
  return {
    bytes: encodeTrainingState(state, noted(training, at)),
    cursor: state.step,
    references: training.shards.references(),
  };
}

/** How many steps go to the backend at once: bounded in number and bytes, and never past a checkpoint or the end. */
function stepsAhead({ settings, backend, host }: Training, step: number): number {
  const { batch, context, checkpointSteps, steps } = settings;
  const stepBytes = batch * context * host.d_model * 8;
  return Math.min(
    backend.stepsMax,
    Math.max(1, Math.floor(PLAN_BYTES_MAX / stepBytes)),
    checkpointSteps - (step % checkpointSteps),
    steps - step,
  );
}

interface DrawnSteps {
  readonly steps: readonly TrainStep[];
  readonly place: DataPlace;
}

async function draw(training: Training, { state }: Standing, count: number): Promise<DrawnSteps> {
  const { settings, reader, factors } = training;
  const steps: TrainStep[] = [];
  let place: DataPlace = { cursor: state.cursor, epochRng: state.epochRng };
  for (let step = state.step; step < state.step + count; step++) {
    const read = await reader.nextValid(place, settings.batch, factors);
    ({ place } = read);
    const { x, y, valid } = read.batch;
    steps.push({
      x,
      y,
      valid: tensor('f32', valid.shape, Float32Array.from(valid.data)),
      numbers: {
        topK: topKAt(settings.topK, step),
        rate: learningRateAt(settings.rate, step, settings.steps),
        step: step + 1,
        clipNorm: settings.clipNorm,
        adam: ADAM_DEFAULTS,
      },
    });
  }
  return { steps, place };
}

/** The next few steps. A stop request saves where the training stands and is then thrown. */
async function advance(training: Training, at: Standing): Promise<Standing> {
  const { context, backend } = training;
  const startedMs = context.clock.monotonic();
  const count = stepsAhead(training, at.state.step);
  try {
    const { steps, place } = await draw(training, at, count);
    const { signal } = context;
    const reports = await backend.run(steps, { dead: at.state.dead, signal });
    requireFiniteSteps(training, at, reports);
    const next = absorb(training, at, place, reports);
    publish(training, next, reports, (context.clock.monotonic() - startedMs) / 1000);
    return next;
  } catch (error) {
    if (context.signal.aborted) await context.pulse(() => snapshot(training, at));
    throw error;
  }
}

function absorb(
  { settings }: Training,
  at: Standing,
  place: DataPlace,
  reports: readonly StepReport[],
): Standing {
  const curve = [...at.curve];
  let { tokens } = at;
  let { dead, step } = at.state;
  for (const report of reports) {
    dead = countSilence(dead, report.fired, report.sums.tokens);
    tokens += report.sums.tokens;
    step++;
    if (!onCurve(step, settings.steps)) continue;
    curve.push(
      curvePoint(report, {
        step,
        tokens,
        dead: deadHeads(dead, settings.deadTokens),
        k: topKAt(settings.topK, step - 1),
        lr: learningRateAt(settings.rate, step - 1, settings.steps),
      }),
    );
  }
  return { ...at, state: { ...at.state, ...place, step, dead }, tokens, curve };
}

function publish(
  { context, settings, deps, host }: Training,
  { state, tokens }: Standing,
  reports: readonly StepReport[],
  seconds: number,
): void {
  const sums = reports.reduce((sum, report) => addSums(sum, report.sums), emptySums(host.d_model));
  const last = reports.at(-1);
  if (!last || sums.tokens === 0) return;
  const { fvu, l0 } = figures(sums);
  const step = state.step - 1;
  const now = {
    loss: last.loss,
    fvu,
    l0,
    dead_heads: deadHeads(state.dead, settings.deadTokens),
    dense_heads: denseHeads(reports, sums.tokens),
    gradient_norm: last.gradientNorm,
    learning_rate: learningRateAt(settings.rate, step, settings.steps),
    tokens_per_second: seconds > 0 ? sums.tokens / seconds : 0,
    top_k: topKAt(settings.topK, step),
    tokens,
  };
  const { metrics } = deps;
  metrics.observe('lorsa_trainer_step_seconds', seconds / reports.length);
  metrics.add('lorsa_trainer_steps_total', reports.length);
  metrics.add('lorsa_trainer_tokens_total', sums.tokens);
  for (const [name, gauge] of GAUGES) metrics.set(gauge, now[name]);
  const speed = now.tokens_per_second > 0 ? `, ${shortly(now.tokens_per_second)} tokens/s` : '';
  context.progress({
    done: state.step,
    total: settings.steps,
    unit: 'steps',
    message: `FVU ${fvu.toFixed(4)}, L0 ${l0.toFixed(1)}, dead ${now.dead_heads}${speed}`,
    figures: now,
  });
}

const GAUGES = [
  ['loss', 'lorsa_trainer_loss'],
  ['fvu', 'lorsa_trainer_fvu_ratio'],
  ['l0', 'lorsa_trainer_l0_heads'],
  ['dead_heads', 'lorsa_trainer_dead_heads'],
  ['dense_heads', 'lorsa_trainer_dense_heads'],
  ['gradient_norm', 'lorsa_trainer_gradient_norm'],
  ['learning_rate', 'lorsa_trainer_learning_rate'],
  ['tokens_per_second', 'lorsa_trainer_tokens_per_second'],
  ['top_k', 'lorsa_trainer_top_k_heads'],
] as const;

/** Heads active on more than a tenth of the tokens of these steps. */
function denseHeads(reports: readonly StepReport[], tokens: number): number {
  const heads = reports[0]?.fired.length ?? 0;
  let dense = 0;
  for (let i = 0; i < heads; i++) {
    const fired = reports.reduce((sum, report) => sum + (report.fired[i] ?? 0), 0);
    if (fired > DENSE_FREQUENCY * tokens) dense++;
  }
  return dense;
}

const shortly = (rate: number): string =>
  rate < 1000 ? rate.toFixed(0) : `${(rate / 1000).toFixed(1)}k`;
