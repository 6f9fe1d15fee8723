import { OperationError, present } from '@heddle/core';
import { type HookPoint, padTokens, stepFeeds } from '@heddle/models';
import type { Clock, Engine, Metrics, Outputs, Plan, Program, Step } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import type { CheckedRun } from './check-run.ts';
import { logitGradient, logitRows, type PromptPlan, replyTensor } from './compute.ts';
import { gradientFeeds } from './gradient-plan.ts';
import { forSlots, promptInterventions } from './intervention.ts';
import type { LoadedModel } from './open-model.ts';
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
}

export interface PromptResult {
  /** By hook name. */
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
    try {
      await runBatch(deps, batch, signal);
    } catch (thrown) {
      for (const passage of batch) passage.reject(thrown);
    }
  };
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
    if (promptPlan.chain.kind === 'gradient' && run.hooks.some(({ name }) => name === 'logits')) {
      tensors.set('logits', logitGradient(model, run, promptPlan.chain.objective, read.length));
    }
    if (failure) passage.reject(failure);
    else passage.resolve({ tensors, programs, engineMs });
  });
}

type Steps = readonly { readonly program: Program; readonly feeds: Step['feeds'] }[];

function enginePlan(deps: BatchDeps, batch: readonly PromptPassage[]): Plan {
  const kept = hooksByStep(batch);
  return {
    steps: stepsOf(deps, batch).map((step, index) => ({
      ...step,
      keep: [...new Set((kept.get(index) ?? []).map(({ output }) => output))],
    })),
  };
}

function stepsOf({ programs }: BatchDeps, batch: readonly PromptPassage[]): Steps {
  const works = batch.map(({ work }) => work);
  const { model, promptPlan } = works[0] as PromptWork;
  const lengths = works.map(({ tokens }) => tokens.length);
  const pos = Math.max(...lengths);
  const changes = works.flatMap((work, batchIndex) => {
    const place = { batchIndex, length: work.tokens.length, pos };
    return promptInterventions(model.config, work.run, work.prompt, place);
  });
  const tokens = padTokens(
    model.config,
    works.map((work) => work.tokens),
  );
  const { chain } = promptPlan;
  if (chain.kind === 'gradient') {
    const { plan, objective } = chain;
    const feeds = gradientFeeds(model, plan, objective, { tokens, lengths, changes });
    return [...plan.forward.steps, ...plan.backward].map((step, index) => ({
      program: programs.program(model, step),
      feeds: feeds[index] ?? {},
    }));
  }
  const { plan } = chain;
  const feeds = stepFeeds(model, plan, {
    tokens,
    lengths,
    logitRows: logitRows(
      works.map(({ run }) => run),
      lengths,
    ),
    interventions: forSlots(plan.steps, changes),
  });
  return plan.steps.map((step, index) => ({
    program: programs.program(model, step),
    feeds: feeds[index] ?? {},
  }));
}

interface KeptHook {
  readonly point: HookPoint;
  readonly output: string;
}

/** Which hooks each step hands over, and under which output. */
function hooksByStep(batch: readonly PromptPassage[]): ReadonlyMap<number, readonly KeptHook[]> {
  const byStep = new Map<number, KeptHook[]>();
  const [first] = batch;
  const chain = first?.work.promptPlan.chain;
  for (const point of first?.work.run.hooks ?? []) {
    if (chain?.kind === 'gradient' && point.name === 'logits') continue; // no step computes it
    const source = chain?.plan.outputs.get(point.name);
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
  batch.forEach(({ work }, batchIndex) => {
    const { model, run, tokens } = work;
    const place = { batchIndex, length: tokens.length, firstRow };
    const own = present(taken[batchIndex], 'a place for the prompt');
    for (const { point, output } of kept) {
      const value = outputs[output];
      if (!value) throw new OperationError({ code: 'internal', message: `no output ${output}` });
      try {
        own.tensors.set(point.name, replyTensor(model, run, point, value, place));
      } catch (thrown) {
        own.failure ??= thrown;
      }
    }
    firstRow += run.positions?.length ?? tokens.length;
  });
}
