import {
  type Estimate,
  type JobKind,
  outcomeWithFiles,
  type Task,
  type TaskContext,
  type TaskOutput,
} from '@heddle/actor';
import { type HostJobDeps, hostProvenance } from '@heddle/client';
import { invalidArgument } from '@heddle/core';
import { whyLogit, whyScore } from '@heddle/interp/attribution';
import {
  activationsFromHooks,
  type CaptureScope,
  HostRun,
  hooksOf,
  hostBytes,
  requireTwinLength,
  TWIN_RATE,
  TWIN_TOKENS_MAX,
} from '@heddle/interp/host';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import { logitReport, type Report, scoreReport } from './compute.ts';
import type { WhyRequest } from './why-request.ts';

/** The kind `attribution.why`: one capture, one exact sum. */
export function whyKind(deps: HostJobDeps): JobKind {
  return {
    kind: 'attribution.why',
    estimate: (request) => estimate(deps, request as unknown as WhyRequest),
    split: () => [{ input: null }],
    run: (task, context) => runWhy(deps, task, context),
  };
}

/** Folded weights and every head's output at every position. Refuses a head that the model lacks before there is a job. */
async function estimate({ hosts }: HostJobDeps, request: WhyRequest): Promise<Estimate> {
  const info = await hosts.describe(request.model);
  const { layers, logits = false } = scopeOf(request, info);
  const outputs = layers * info.n_heads * TWIN_TOKENS_MAX * info.d_model;
  return {
    bytes: hostBytes(info, { layers, logits }) + 8 * outputs,
    seconds: (4 * outputs * info.d_head) / TWIN_RATE,
  };
}

async function runWhy(deps: HostJobDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const started = context.clock.monotonic();
  const { hosts, metrics, versions } = deps;
  const request = task.request as unknown as WhyRequest;
  const { signal } = context;
  const info = await hosts.describe(request.model, signal);
  const tokens = await hosts.tokenize(request.model, request.prompt, request.options, signal);
  requireTwinLength(tokens.length);
  const scope = scopeOf(request, info);
  const weights = { layers: scope.layers, logits: scope.logits ?? false };
  const host = await hosts.host(info, weights, { signal, pulse: () => context.pulse() });
  const captured = await hosts.capture(request.model, [tokens], hooksOf(host.shape, scope), signal);
  const values = activationsFromHooks(host.shape, scope, tokens, (hook) => captured.value(0, hook));
  await context.pulse();
  const report = await answer(deps, request, new HostRun(host, values), signal);
  metrics.add('attribution_service_sums_total', 1, { outcome: report.holds ? 'holds' : 'fails' });
  const named = { model: info.name, model_digest: info.digest, tokens: [...tokens] };
  const content = new TextEncoder().encode(JSON.stringify({ ...named, ...(report.all as object) }));
  metrics.observe(
    'attribution_service_attribution_seconds',
    (context.clock.monotonic() - started) / 1000,
    { question: request.question.kind },
  );
  return outcomeWithFiles(context.blobs, {
    summary: { ...named, ...report.summary },
    files: [{ name: 'sources.json', mediaType: 'application/json', content }],
    provenance: hostProvenance(info, [captured.provenance], versions),
  });
}

/** What the question reads, after the head is known to exist. */
function scopeOf({ question }: WhyRequest, info: ModelInfo): CaptureScope {
  if (question.kind === 'logit') return { layers: info.n_layers, logits: true };
  const bounds = [
    ['layer', question.layer, info.n_layers],
    ['head', question.head, info.n_heads],
  ] as const;
  for (const [name, value, count] of bounds) {
    if (value < count) continue;
    throw invalidArgument(`score.head.${name} is ${value}; the model has ${count}, from 0`, {
      field: `score.head.${name}`,
      details: { limit: count - 1 },
    });
  }
  return { layers: question.layer + 1, scoresOf: question.layer };
}

async function answer(
  { hosts }: HostJobDeps,
  { model, question }: WhyRequest,
  run: HostRun,
  signal: AbortSignal,
): Promise<Report> {
  if (question.kind === 'score') return scoreReport(whyScore(run, question));
  const token =
    question.token && (await hosts.target(model, question.token, 'logit.token', signal));
  return logitReport(whyLogit(run, { token, position: question.position ?? run.length - 1 }));
}
