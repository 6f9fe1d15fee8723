/**
 * The three methods as jobs, over real gRPC to an activation server: what people get, compared with
 * transformers' values.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createService as activationService } from '@heddle/activation-server';
import { JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { serve } from '@heddle/adapters/grpc';
import { folderHub, loadConfig, loadModel, openWeights, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { createService as attributionService } from '@heddle/attribution-service';
import { createService as circuitService } from '@heddle/circuit-tracer';
import { connect, type Heddle } from '@heddle/client';
import type { Json, OperationError } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { basisCache, localEdit, type TraceEdge, type TraceGraph } from '@heddle/interp/circuit';
import {
  activationsFromHooks,
  HostRun,
  hostFromModel,
  ProcessedHost,
  softmax,
} from '@heddle/interp/host';
import { type ContrastSample, contrastiveCovariance } from '@heddle/interp/qk';
import { widen } from '@heddle/models';
import { decodeOutcome, type JobOutcome, toInline } from '@heddle/ports';
import { createService as qkService } from '@heddle/qk-analyzer';
import { type Tensor, tensor } from '@heddle/tensor';
import {
  CountingMetrics,
  deafEvents,
  MemoryBlobs,
  MemoryJournal,
  MemoryQueue,
  silentLog,
} from '@heddle/testkit';
import { GOLDEN, type GoldenModel, openGolden } from '../models/golden-model.ts';

const clock = systemClock;
const model = (name: string) => join(GOLDEN, name);
let engine: OrtEngine;
let jobs: JobRuntime;
/** What admission allows; a test lowers it. */
const jobsBudget = { bytes: Number.POSITIVE_INFINITY };
let blobs: MemoryBlobs;
let heddle: Heddle;
let peers: Heddle;
/** Run backwards at the end, also when the set-up failed half way. */
const closers: (() => unknown)[] = [];

before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
  closers.push(() => engine.close());
  const metrics = new CountingMetrics();
  const journal = new MemoryJournal({ clock });
  blobs = new MemoryBlobs(clock);
  const versions = { heddle: '0' };
  jobs = new JobRuntime({
    journal,
    queue: new MemoryQueue({ clock }),
    blobs,
    clock,
    log: silentLog,
    metrics,
    events: deafEvents,
    versions,
    budgetMax: jobsBudget,
  });
  const hub = folderHub({ roots: [GOLDEN] });
  const activation = await activationService({
    engine,
    hub,
    store: { config: loadConfig, load: loadModel, program: programOf },
    openTokenizer: async () => undefined,
    journal,
    blobs,
    jobs,
    clock,
    log: silentLog,
    metrics,
    bundledModel: model('gpt2'),
    versions,
  });
  const inner = await serve({
    host: '127.0.0.1',
    port: 0,
    handlers: activation.handlers,
    log: silentLog,
  });
  closers.push(() => inner.close(0));
  peers = connect(`127.0.0.1:${inner.port}`);
  closers.push(() => peers.close());
  const store = { load: loadModel, openWeights };
  const deps = { hub, metrics, jobs, peers, versions, store };
  const services = [
    await attributionService(deps),
    await circuitService(deps),
    await qkService(deps),
  ];
  for (const service of services) {
    metrics.register(service.metrics);
    for (const kind of service.jobKinds) jobs.register(kind);
  }
  await jobs.start();
  closers.push(() => jobs.stop(0));
  const handlers = Object.assign({}, ...services.map((service) => service.handlers));
  const outer = await serve({ host: '127.0.0.1', port: 0, handlers, log: silentLog });
  closers.push(() => outer.close(0));
  heddle = connect(`127.0.0.1:${outer.port}`);
  closers.push(() => heddle.close());
});

after(async () => {
  for (const close of closers.reverse()) await close();
});

/** The methods' view of a golden prompt, on transformers' values. */
function goldenRun({ model: loaded, prompts, weight }: GoldenModel, prompt: number): HostRun {
  const host = new ProcessedHost(hostFromModel(loaded, ({ name }) => widen(weight(name))));
  const scope = { layers: loaded.config.n_layers, logits: true };
  const { tokens = [], values } = prompts[prompt] ?? {};
  return new HostRun(
    host,
    activationsFromHooks(host.shape, scope, tokens, (hook) => values?.get(hook) as Tensor),
  );
}

async function outcome(started: {
  readonly job: { readonly id: string } | null;
}): Promise<JobOutcome> {
  const id = started.job?.id ?? '';
  const view = await jobs.wait(id);
  assert.equal(view.status, 'completed', view.error?.message);
  return decodeOutcome(await blobs.read((await jobs.result(id)).digest));
}

async function failure(started: { readonly job: { readonly id: string } | null }) {
  const view = await jobs.wait(started.job?.id ?? '');
  assert.equal(view.status, 'failed');
  return view.error;
}

async function artifact({ artifacts }: JobOutcome): Promise<Uint8Array> {
  const [only] = artifacts;
  assert.ok(only !== undefined && artifacts.length === 1);
  return blobs.read(only.digest);
}

const object = (value: Json | undefined) => value as { readonly [name: string]: Json };
const numbers = (value: Json | undefined) => value as number;

for (const name of ['gpt2', 'neox-parallel', 'llama3', 'qwen3']) {
  test(`${name}: why of a score and of a logit is the value of transformers, and the sum of its sources to 1e-4`, async () => {
    const { prompts } = await openGolden(name);
    const { tokens, values } = prompts[1] as (typeof prompts)[number];
    const prompt = { tokens: { ids: tokens } };
    const query = tokens.length - 1;
    const score = await outcome(
      await heddle.attribution.StartWhy({
        model: model(name),
        prompt,
        score: { head: { layer: 1, head: 2 }, query, key: 1 },
      }),
    );
    const scores = values.get('blocks.1.attn.hook_attn_scores') as Tensor<'f64'>;
    const expected = scores.data[(2 * tokens.length + query) * tokens.length + 1] as number;
    const { summary } = score;
    assert.ok(Math.abs(numbers(summary['value']) - expected) < 1e-4, `${summary['value']}`);
    assert.equal(summary['holds'], true);
    const listed = summary['sources'] as { side: string; contribution: number }[];
    const sides = object(summary['sides']);
    let total = 0;
    for (const side of ['query', 'key']) {
      const own = listed.filter((source) => source.side === side);
      const sum = own.reduce((partial, { contribution }) => partial + contribution, 0);
      total += sum;
      assert.ok(Math.abs(2 * sum - numbers(object(sides[side])['sum'])) < 1e-9, side);
    }
    assert.ok(Math.abs(total - expected) < 1e-4, 'the list sums to the score once');
    const sizes = listed.map(({ contribution }) => Math.abs(contribution));
    assert.deepEqual(
      sizes,
      sizes.toSorted((a, b) => b - a),
    );
    const file = JSON.parse(new TextDecoder().decode(await artifact(score))) as {
      sources: Json[];
    };
    assert.equal(file.sources.length, listed.length);

    const logit = await outcome(
      await heddle.attribution.StartWhy({ model: model(name), prompt, logit: {} }),
    );
    const logits = (values.get('logits') as Tensor<'f64'>).data.slice(-50);
    const top = logits.indexOf(Math.max(...logits));
    assert.equal(object(logit.summary['question'])['token'], top);
    assert.ok(Math.abs(numbers(logit.summary['value']) - (logits[top] as number)) < 1e-3);
    assert.equal(logit.summary['holds'], true);
  });

  test(`${name}: a fit over gRPC is the covariance of transformers' own queries and keys`, async () => {
    const { prompts, model: loaded } = await openGolden(name);
    const { n_heads, n_key_value_heads, d_head, positions } = loaded.config;
    const lines = prompts.map(({ tokens }) => ({
      query: tokens.length - 1,
      positive: [0, 1],
      negative: [2],
    }));
    const fit = await outcome(
      await heddle.qk.StartFit({
        model: model(name),
        contrasts: lines.map((line, i) => ({
          ...line,
          feature: 'thing',
          prompt: { tokens: { ids: prompts[i]?.tokens ?? [] } },
        })),
        heads: [
          { layer: 1, head: 2 },
          { layer: 0, head: 0 },
        ],
      }),
    );
    const file = readSafetensors('qk.safetensors', await artifact(fit));
    const rot = positions.kind === 'rotary' ? 'rot_' : '';
    const head = 2;
    const kv = Math.floor(head / (n_heads / n_key_value_heads));
    const samples = prompts.map(({ values }, i): ContrastSample => {
      const at = (which: 'q' | 'k', position: number) => {
        const { data } = values.get(`blocks.1.attn.hook_${rot}${which}`) as Tensor<'f64'>;
        const [count, index] = which === 'q' ? [n_heads, head] : [n_key_value_heads, kv];
        return data.slice(
          (position * count + index) * d_head,
          (position * count + index + 1) * d_head,
        );
      };
      const { query = 0, positive = [], negative = [] } = lines[i] ?? {};
      return {
        query: at('q', query),
        positive: positive.map((p) => at('k', p)),
        negative: negative.map((p) => at('k', p)),
      };
    });
    const expected = contrastiveCovariance(samples);
    for (const which of ['C_plus', 'C_minus', 'Delta_C'] as const) {
      const stored = file.tensor(`thing/${which}.1.2`);
      assert.deepEqual(stored.shape, [d_head, d_head]);
      expected[which].data.forEach((value, i) => {
        assert.ok(Math.abs(value - (stored.data[i] as number)) < 1e-4, which);
      });
    }
    assert.equal(file.names().length, 8);
    const listed = fit.summary['features'] as { head: string; rank: number; contrasts: number }[];
    assert.deepEqual(listed.map((line) => line.head).sort(), ['0.0', '1.2']);
    assert.equal(listed.find((line) => line.head === '1.2')?.rank, expected.rank);
    assert.equal(listed[0]?.contrasts, 2);
  });

  test(`${name}: traces of two prompts come back in one file, in the order of the prompts, by both methods`, async () => {
    const { prompts } = await openGolden(name);
    for (const method of ['TRACE_METHOD_ACCPP', 'TRACE_METHOD_SAD'] as const) {
      const traced = await outcome(
        await heddle.circuit.StartTrace({
          model: model(name),
          prompts: prompts.map(({ tokens }) => ({ tokens: { ids: tokens } })),
          method,
          objective: 'OBJECTIVE_LOGIT',
          threshold: 0.3,
        }),
      );
      const { graphs } = JSON.parse(new TextDecoder().decode(await artifact(traced))) as {
        graphs: {
          tokens: number[];
          nodes: { id: string; kind: string }[];
          edges: { from: string; to: string }[];
        }[];
      };
      assert.deepEqual(
        graphs.map(({ tokens }) => tokens),
        prompts.map(({ tokens }) => tokens),
      );
      for (const { nodes, edges } of graphs) {
        const ids = new Set(nodes.map(({ id }) => id));
        assert.ok(edges.every(({ from, to }) => ids.has(from) && ids.has(to)));
        assert.ok(nodes.some(({ kind }) => kind === 'root'));
      }
      const [first] = traced.summary['graphs'] as { residual: number; terms_abs_sum: number }[];
      assert.ok(first && Math.abs(first.residual) <= 1e-4 * first.terms_abs_sum);
    }
  });
}

for (const name of ['gpt2', 'llama3', 'neox-parallel', 'qwen2']) {
  test(`${name}: a validated edge is what the model does when its signal is taken out of the pattern of that head alone`, async () => {
    const golden = await openGolden(name);
    const { tokens, values } = golden.prompts[1] as (typeof golden.prompts)[number];
    const prompt = { tokens: { ids: tokens } };
    const logits = (values.get('logits') as Tensor<'f64'>).data.slice(-50);
    const target = logits.indexOf(Math.max(...logits));
    const versus = logits.indexOf(Math.min(...logits));
    const objective = (of: ArrayLike<number>) => (of[target] ?? 0) - (of[versus] ?? 0);
    const traced = await outcome(
      await heddle.circuit.StartTrace({
        model: model(name),
        prompts: [prompt],
        objective: 'OBJECTIVE_LOGIT',
        targets: [{ id: target }],
        versus: [{ id: versus }],
        threshold: 0.05,
        validate: true,
      }),
    );
    const graph = JSON.parse(new TextDecoder().decode(await artifact(traced))) as TraceGraph & {
      edges: (TraceEdge & { validated?: number })[];
    };
    const run = goldenRun(golden, 1);
    const basisOf = basisCache(run);
    let [checked, largest] = [0, 0];
    for (const edge of graph.edges) {
      assert.equal(edge.validated === undefined, edge.side === 'seed');
      if (edge.validated === undefined) continue;
      const edit = localEdit(run, graph, edge, basisOf);
      const pattern = values.get(`blocks.${edit.layer}.attn.hook_pattern`) as Tensor<'f64'>;
      const scores = values.get(`blocks.${edit.layer}.attn.hook_attn_scores`) as Tensor<'f64'>;
      const n = tokens.length;
      const edited = Float32Array.from(
        pattern.data.subarray(edit.head * n * n, (edit.head + 1) * n * n),
      );
      for (let t = 0; t < n; t++) {
        const row = scores.data.slice((edit.head * n + t) * n, (edit.head * n + t) * n + t + 1);
        if (edit.side === 'dest' && t === edit.position) {
          edited.set(softmax(row.map((value, s) => value + (edit.change[s] ?? 0))), t * n);
        }
        if (edit.side === 'src' && t >= edit.position) {
          row[edit.position] = (row[edit.position] ?? 0) + (edit.change[t - edit.position] ?? 0);
          edited.set(softmax(row), t * n);
        }
      }
      const ablated = await peers.collectRun({
        model: model(name),
        prompts: [prompt],
        hooks: ['logits'],
        positions: [n - 1],
        interventions: [
          {
            hook: `blocks.${edit.layer}.attn.hook_pattern`,
            kind: 'INTERVENTION_KIND_REPLACE',
            heads: [edit.head],
            value: toInline(tensor('f32', [1, n, n], edited)),
          },
        ],
      });
      const after = ablated.tensors[0]?.tensor.data as Float32Array;
      const change = objective(after) - objective(logits);
      assert.ok(Math.abs(change - edge.validated) < 1e-4, `${edge.from} → ${edge.to}: ${change}`);
      largest = Math.max(largest, Math.abs(change));
      checked++;
    }
    assert.ok(checked > 3, `${checked} edges`);
    assert.ok(largest > 1e-3, 'an edge that matters');
  });
}

test('a question that the model cannot answer fails with the field and the limit', async () => {
  const prompt = { tokens: { ids: [1, 2, 3] } };
  const score = { head: { layer: 2, head: 0 }, query: 1 };
  await assert.rejects(heddle.attribution.StartWhy({ prompt, score }), {
    code: 'invalid_argument',
    field: 'score.head.layer',
  });
  const long = { tokens: { ids: Array.from({ length: 65 }, () => 1) } };
  await assert.rejects(heddle.attribution.StartWhy({ prompt: long, logit: {} }), {
    code: 'resource_exhausted',
    message: /65 tokens.*at most 64/,
  });
  const position = await failure(
    await heddle.qk.StartFit({
      contrasts: [{ feature: 'f', prompt, query: 3, positive: [0], negative: [1] }],
    }),
  );
  assert.equal(position?.field, 'contrasts[0].query');
  const target = await failure(
    await heddle.circuit.StartTrace({ prompts: [prompt], targets: [{ id: 50 }] }),
  );
  assert.equal(target?.field, 'targets');
});

test('a result of each method says what it was made from: model, data, programs, engine, instruction set, threads', async () => {
  const { prompts } = await openGolden('gpt2');
  const ids = (prompts[1] as (typeof prompts)[number]).tokens;
  const prompt = { tokens: { ids } };
  const one = { model: model('gpt2'), prompts: [prompt] };
  const contrast = { feature: 'f', prompt, query: 2, positive: [0], negative: [1] };
  const started = [
    await heddle.attribution.StartWhy({ model: one.model, prompt, logit: {} }),
    await heddle.circuit.StartTrace(one),
    await heddle.circuit.StartTrace({ ...one, prompts: [prompt, prompt] }),
    await heddle.qk.StartFit({ model: one.model, contrasts: [contrast] }),
  ];
  const provenances = [];
  for (const { job } of started) {
    const view = await jobs.wait(job?.id ?? '');
    assert.equal(view.status, 'completed', view.error?.message);
    const { provenance } = await jobs.result(job?.id ?? '');
    for (const name of ['model_digest', 'data_digest', 'program_digest']) {
      assert.match(String(provenance[name]), /^sha256:[0-9a-f]{64}$/, name);
    }
    const versions = object(provenance['versions']);
    assert.equal(provenance['provider'], 'cpu', JSON.stringify(provenance));
    assert.equal(versions['threads'], '1', JSON.stringify(provenance));
    assert.equal(versions['heddle'], '0');
    assert.ok(versions['onnxruntime-node'] && versions['cpu'], JSON.stringify(versions));
    provenances.push(provenance);
  }
  const [, trace, twice] = provenances;
  assert.notEqual(trace?.['data_digest'], twice?.['data_digest'], 'other prompts are other data');
});

test('what would not fit is refused before there is a job, with the estimate; so is a head that is not there', async () => {
  const prompt = { tokens: { ids: [1, 2, 3] } };
  const name = model('gpt2');
  const refused = (error: OperationError) => {
    assert.equal(error.code, 'resource_exhausted', error.message);
    assert.equal(error.field, 'budget.bytes');
    const { bytes, budget } = error.details as { bytes: number; budget: number };
    assert.ok(bytes > budget && budget === 1000, `${bytes} ${budget}`);
    return true;
  };
  const before = (await jobs.list()).jobs.length;
  jobsBudget.bytes = 1000;
  try {
    await assert.rejects(heddle.circuit.StartTrace({ model: name, prompts: [prompt] }), refused);
    await assert.rejects(heddle.attribution.StartWhy({ model: name, prompt, logit: {} }), refused);
    const contrast = { feature: 'f', prompt, query: 2, positive: [0], negative: [1] };
    const contrasts = new Array(50).fill(contrast);
    await assert.rejects(heddle.qk.StartFit({ model: name, contrasts }), refused);
  } finally {
    jobsBudget.bytes = Number.POSITIVE_INFINITY;
  }
  const heads = [{ layer: 99, head: 0 }];
  const contrasts = [{ feature: 'f', prompt, query: 2, positive: [0], negative: [1] }];
  await assert.rejects(heddle.qk.StartFit({ model: name, contrasts, heads }), {
    code: 'invalid_argument',
    field: 'heads[0]',
  });
  assert.equal((await jobs.list()).jobs.length, before);
});
