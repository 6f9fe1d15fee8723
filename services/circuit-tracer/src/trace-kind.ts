import {
  type JobKind,
  outcomeWithFiles,
  type Task,
  type TaskContext,
  type TaskOutput,
  type TaskResult,
} from '@heddle/actor';
import { type HostJobDeps, hostProvenance, joinProvenance } from '@heddle/client';
import { assert, invalidArgument, type Json, present } from '@heddle/core';
import {
  type BasisOf,
  basisCache,
  localEdit,
  objectiveOf,
  type Question,
  type Trace,
  type TraceEdge,
} from '@heddle/interp/circuit';
import {
  activationsFromHooks,
  HostRun,
  hooksOf,
  type ProcessedHost,
  requireTwinLength,
} from '@heddle/interp/host';
import { topk } from '@heddle/linalg';
import type { Provenance } from '@heddle/ports/proto/common';
import {
  estimateTrace,
  type GraphJson,
  graphJson,
  graphSummary,
  scoreIntervention,
  traceSteps,
} from './compute.ts';
import { ABLATIONS_PER_RUN, GRAPHS_SHOWN, TASKS_MAX } from './limits.ts';
import { itemCount, type TraceItem, type TraceRequest, traceItems } from './trace-request.ts';

type Range = { readonly from: number; readonly to: number };
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * The kind `circuit.trace`: prompts in tasks of equal size, their graphs put together in the order
 * of the prompts.
 */
export function traceKind(deps: HostJobDeps): JobKind {
  return {
    kind: 'circuit.trace',
    limits: { concurrency: 1 },
    estimate: async (json) => {
      const request = json as unknown as TraceRequest;
      return estimateTrace(itemCount(request), await deps.hosts.describe(request.model));
    },
    split: (request) => split(request as unknown as TraceRequest),
    run: (task, context) => runTask(deps, task, context),
    reduce,
  };
}

function split(request: TraceRequest): { input: Range }[] {
  const count = itemCount(request);
  const size = Math.ceil(count / TASKS_MAX);
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => ({
    input: { from: i * size, to: Math.min(count, (i + 1) * size) },
  }));
}

interface Tracing {
  readonly deps: HostJobDeps;
  readonly request: TraceRequest;
  readonly host: ProcessedHost;
  readonly context: TaskContext;
  /** Singular bases of heads, kept from prompt to prompt. */
  basisOf: BasisOf | undefined;
  /** Of each prompt, in order: what the engine says that its values were made from. */
  readonly captures: (Provenance | null)[];
}

async function runTask(deps: HostJobDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const request = task.request as unknown as TraceRequest;
  const { from, to } = task.input as unknown as Range;
  const { signal } = context;
  const info = await deps.hosts.describe(request.model, signal);
  const scope = { layers: info.n_layers, logits: true };
  const host = await deps.hosts.host(info, scope, { signal, pulse: () => context.pulse() });
  const tracing: Tracing = { deps, request, host, context, basisOf: undefined, captures: [] };
  const graphs: GraphJson[] = [];
  for (const [i, item] of traceItems(request, from, to).entries()) {
    graphs.push(await traceOne(tracing, item, from + i));
  }
  return {
    bytes: encoder.encode(JSON.stringify(graphs)),
    provenance: hostProvenance(info, tracing.captures, deps.versions),
  };
}

async function traceOne(tracing: Tracing, item: TraceItem, prompt: number): Promise<GraphJson> {
  const { deps, request, host, context } = tracing;
  const { signal } = context;
  const tokens = await deps.hosts.tokenize(request.model, item.prompt, request.options, signal);
  requireTwinLength(tokens.length, `prompts[${prompt}]`);
  const position = request.position ?? tokens.length - 1;
  if (position >= tokens.length) {
    throw invalidArgument(`position is ${position}; prompt ${prompt} has ${tokens.length} tokens`, {
      field: 'position',
      details: { limit: tokens.length - 1 },
    });
  }
  const scope = { layers: host.shape.n_layers, logits: true };
  const hooks = hooksOf(host.shape, scope);
  const captured = await deps.hosts.capture(request.model, [tokens], hooks, signal);
  const values = activationsFromHooks(host.shape, scope, tokens, (hook) => captured.value(0, hook));
  tracing.captures.push(captured.provenance);
  const started = context.clock.monotonic();
  const run = new HostRun(host, values);
  const question = await questionOf(tracing, item, run, position);
  tracing.basisOf ??= basisCache(run);
  const steps = traceSteps(run, question, request, tracing.basisOf);
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    context.progress({
      done: prompt,
      total: itemCount(request),
      unit: 'prompts',
      message: `firing ${step.value}`,
    });
    await context.pulse();
  }
  const validated = request.validate
    ? await validateEdges(tracing, tokens, run, question, step.value)
    : undefined;
  const { method } = request;
  const seconds = (context.clock.monotonic() - started) / 1000;
  const graph = graphJson(prompt, tokens, question, method, step.value, validated);
  deps.metrics.observe('circuit_tracer_trace_seconds', seconds, { method });
  deps.metrics.add('circuit_tracer_nodes_total', graph.nodes.length, { method });
  deps.metrics.add('circuit_tracer_unexplained_firings_total', graph.unexplained.length, {
    method,
  });
  return graph;
}

/**
 * Takes each edge's signal away, alone and in its own head only, and measures the objective in the
 * model: clean prompt against ablated prompt, the same engine.
 */
async function validateEdges(
  { deps, request, host, context, basisOf }: Tracing,
  tokens: readonly number[],
  run: HostRun,
  question: Question,
  { graph }: Trace,
): Promise<Map<TraceEdge, number>> {
  const clean = logitsAt(run, question.position);
  const objective = objectiveOf(question, clean);
  // Edges into one layer share a run: each layer that is touched needs a session of its own.
  const edits = graph.edges
    .filter(({ side }) => side !== 'seed')
    .map((edge) => ({ edge, edit: localEdit(run, graph, edge, present(basisOf, 'bases')) }))
    .toSorted((a, b) => a.edit.layer - b.edit.layer);
  const validated = new Map<TraceEdge, number>();
  while (edits.length > 0) {
    const same = edits.findIndex(({ edit }) => edit.layer !== edits[0]?.edit.layer);
    const count = Math.min(same < 0 ? edits.length : same, ABLATIONS_PER_RUN);
    const batch = edits.splice(0, count);
    const captured = await deps.hosts.capture(
      request.model,
      batch.map(() => tokens),
      ['logits'],
      context.signal,
      {
        positions: [question.position],
        interventions: batch.map(({ edit }, i) => scoreIntervention(edit, i, tokens.length)),
      },
    );
    batch.forEach(({ edge }, i) => {
      const logits = Float64Array.from(captured.value(i, 'logits').data as Float32Array);
      assert(logits.length === host.shape.d_vocab, 'logits of one position');
      validated.set(edge, objective(logits) - objective(clean));
    });
    await context.pulse();
  }
  return validated;
}

function logitsAt(run: HostRun, position: number): Float64Array {
  const { data, cols } = present(run.activations.logits, 'capture of the logits');
  return data.slice(position * cols, (position + 1) * cols);
}

async function questionOf(
  { deps, request, context }: Tracing,
  item: TraceItem,
  run: HostRun,
  position: number,
): Promise<Question> {
  const ids = async (field: 'targets' | 'versus') => {
    const out: number[] = [];
    for (const [i, target] of item[field].entries()) {
      const name = `${field}[${i}]`;
      out.push(await deps.hosts.target(request.model, target, name, context.signal));
    }
    return out;
  };
  const targets = await ids('targets');
  if (targets.length === 0) {
    targets.push(topk(logitsAt(run, position), 1, 'logits').indices[0] ?? 0);
  }
  return { targets, versus: await ids('versus'), objective: request.objective, position };
}

async function reduce(
  task: Task,
  results: readonly TaskResult[],
  context: TaskContext,
): Promise<TaskOutput> {
  const request = task.request as unknown as TraceRequest;
  const graphs: GraphJson[] = [];
  for (const { blob } of results) {
    graphs.push(...(JSON.parse(decoder.decode(await context.blobs.read(blob))) as GraphJson[]));
  }
  const provenance = joinProvenance(results.map((result) => result.provenance));
  const [only] = graphs;
  const file = graphs.length === 1 ? only : { graphs };
  const content = encoder.encode(JSON.stringify({ provenance, ...file }));
  const summary: Record<string, Json> = {
    model: provenance['model'] ?? request.model,
    method: request.method,
    count: graphs.length,
    graphs: graphs.slice(0, GRAPHS_SHOWN).map((graph) => graphSummary(graph) as unknown as Json),
  };
  const files = [{ name: 'graph.json', mediaType: 'application/json', content }] as const;
  return outcomeWithFiles(context.blobs, { summary, files, provenance });
}
