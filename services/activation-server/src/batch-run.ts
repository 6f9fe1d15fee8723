import { OperationError, present } from '@heddle/core';
import { type HookPoint, type PlacedTargets, padTokens, stepFeeds } from '@heddle/models';
import type { Clock, Engine, LoadedModel, Metrics, Outputs, Plan, Span } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import type { CheckedRun } from './check-run.ts';
import { logitRows, type PromptPlan, replyLoss, replyTensor, zeroReply } from './compute.ts';
import { forSlots, promptInterventions } from './intervention.ts';
import { LOSS_PER_TOKEN, lossFeeds } from './loss-per-token.ts';
import type { ProgramCache } from './program-cache.ts';
import type { BatchRun, Passage } from './scheduler.ts';
import type { SessionMeter } from './session-meter.ts';

/** One prompt of a run: what to compute for it. */
export interface PromptWork {
  readonly model: LoadedModel;
  readonly run: CheckedRun;
  readonly prompt: number;
  readonly tokens: readonly number[];
  readonly promptPlan: PromptPlan;
  /** Of its run: a span of whoever asked for it. */
  readonly beginBatch: () => Span;
}

export interface PromptResult {
  /** By hook name; `loss_per_token` is there where it was asked for. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Digests of the programs that ran, in order. */
  readonly programs: readonly string[];
  /** Milliseconds of its batch in the engine. */
  readonly engineMs: number;
}

export type PromptPassage = Passage<PromptWork, PromptResult>;

export interface BatchDeps {
  readonly engine: Engine;
  readonly programs: ProgramCache;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly sessions: SessionMeter;
}

/** Runs prompts of equal keys as one padded batch and hands each its own part, step by step as the engine makes them. */
export function batchRunner(deps: BatchDeps): BatchRun<PromptWork, PromptResult> {
  return async (batch, signal) => {
    const spans = spansOf(batch);
    try {
      await runBatch(deps, batch, signal);
      for (const span of spans) span.end();
      return true;
    } catch (thrown) {
      for (const passage of batch) passage.reject(thrown);
      for (const span of spans) span.end(OperationError.from(thrown));
      return false;
    }
  };
}

/** One for each run that has prompts in the batch. */
function spansOf(batch: readonly PromptPassage[]): readonly Span[] {
  const begins = new Set(batch.map(({ work }) => work.beginBatch));
  const tokens = batch.reduce((sum, { work }) => sum + work.tokens.length, 0);
  return [...begins].map((begin) => {
    const span = begin();
    span.set({ 'heddle.batch.prompts': batch.length, 'heddle.batch.tokens': tokens });
    return span;
  });
}

async function runBatch(
  deps: BatchDeps,
  batch: readonly PromptPassage[],
  signal: AbortSignal,
): Promise<void> {
  const { engine, metrics, clock } = deps;
  const [first] = batch;
  if (!first) return;
  const { model } = first.work;
  const plan = enginePlan(deps, batch);
  const taken = batch.map((): Taken => ({ tensors: new Map(), failure: undefined }));
  const kept = hooksByStep(batch);
  const startMs = clock.monotonic();
  await engine.run(plan, {
    signal,
    onStep: (step, outputs) => takeStep(batch, kept.get(step) ?? [], outputs, taken),
  });
  const engineMs = clock.monotonic() - startMs;
  deps.sessions.record(await engine.usage());
  const programs = plan.steps.map(({ program }) => program.digest);
  const { provider } = await engine.report();
  const { family } = model.config;
  metrics.observe('activation_run_seconds', engineMs / 1000, { family, provider });
  metrics.observe('activation_batch_prompts', batch.length);
  const tokens = batch.reduce((sum, { work }) => sum + work.tokens.length, 0);
  metrics.add('activation_tokens_total', tokens, { family });
  batch.forEach((passage, b) => {
    const { tensors = new Map<string, Tensor>(), failure } = taken[b] ?? {};
    const { run, tokens: read, promptPlan } = passage.work;
    for (const point of run.hooks) {
      if (promptPlan.zeros.includes(point.name)) {
        tensors.set(point.name, zeroReply(run, point, read.length));
      }
    }
    if (failure) passage.reject(failure);
    else passage.resolve({ tensors, programs, engineMs });
  });
}

function enginePlan({ programs }: BatchDeps, batch: readonly PromptPassage[]): Plan {
  const works = batch.map(({ work }) => work);
  const { model, promptPlan } = works[0] as PromptWork;
  const { plan } = promptPlan;
  const tokens = works.map((work) => work.tokens);
  const lengths = tokens.map(({ length }) => length);
  const pos = Math.max(...lengths);
  const changes = works.flatMap((work, batchIndex) => {
    const place = { batchIndex, length: work.tokens.length, pos };
    return promptInterventions(model.config, work.run, work.prompt, place);
  });
  const targets = targetsOf(batch);
  const feeds = stepFeeds(model, plan, {
    tokens: padTokens(model.config, tokens),
    lengths,
    logitRows: logitRows(
      works.map(({ run }) => run),
      lengths,
    ),
    interventions: forSlots(plan.steps, changes),
    ...(targets ? { targets } : {}),
  });
  const kept = hooksByStep(batch);
  // Equal keys are the same question: either all of a batch ask for losses or none.
  const lossStep = works[0]?.run.lossPerToken ? plan.steps.length - 1 : undefined;
  return {
    steps: plan.steps.map((step, index) => ({
      program: programs.program(model, step),
      feeds: { ...feeds[index], ...(index === lossStep ? lossFeeds(tokens) : {}) },
      keep: [
        ...new Set((kept.get(index) ?? []).map(({ output }) => output)),
        ...(index === lossStep ? [LOSS_PER_TOKEN] : []),
      ],
    })),
  };
}

/** Each prompt's terms of the scalar, where gradients are wanted: equal keys are the same kind of question. */
function targetsOf(batch: readonly PromptPassage[]): PlacedTargets | undefined {
  const targets = batch.flatMap(({ work: { run, prompt } }) => {
    const terms = run.targets?.[prompt];
    return terms ? [terms] : [];
  });
  return targets.length === batch.length ? targets : undefined;
}

interface KeptHook {
  readonly point: HookPoint;
  readonly output: string;
}

/** Which hooks each step hands over, and under which output. */
function hooksByStep(batch: readonly PromptPassage[]): ReadonlyMap<number, readonly KeptHook[]> {
  const byStep = new Map<number, KeptHook[]>();
  const [first] = batch;
  const { plan, zeros = [] } = first?.work.promptPlan ?? {};
  for (const point of first?.work.run.hooks ?? []) {
    if (zeros.includes(point.name)) continue; // no step computes it
    const source = plan?.outputs.get(point.name);
    if (!source)
      throw new OperationError({ code: 'internal', message: `no plan for ${point.name}` });
    const kept = byStep.get(source.step) ?? [];
    kept.push({ point, output: source.output });
    byStep.set(source.step, kept);
  }
  return byStep;
}

/** What one prompt has so far; values that cannot be sent fail it alone, not its batch mates. */
interface Taken {
  readonly tensors: Map<string, Tensor>;
  failure: unknown;
}

function takeStep(
  batch: readonly PromptPassage[],
  kept: readonly KeptHook[],
  outputs: Outputs,
  taken: readonly Taken[],
): void {
  let firstRow = 0;
  const targets = targetsOf(batch);
  batch.forEach(({ work }, batchIndex) => {
    const { model, run, tokens } = work;
    const place = { batchIndex, length: tokens.length, firstRow, targets };
    const own = present(taken[batchIndex], 'a place for the prompt');
    for (const { point, output } of kept) {
      const value = outputs[output];
      if (!value) throw new OperationError({ code: 'internal', message: `no output ${output}` });
      keep(own, point.name, () => replyTensor(model, run, point, value, place));
    }
    const loss = outputs[LOSS_PER_TOKEN];
    if (loss) keep(own, LOSS_PER_TOKEN, () => replyLoss(run, loss, place));
    firstRow += run.positions?.length ?? tokens.length;
  });
}

function keep(own: Taken, name: string, value: () => Tensor): void {
  try {
    own.tensors.set(name, value());
  } catch (thrown) {
    own.failure ??= thrown;
  }
}
