import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Progress, Snapshot, TaskContext } from '@heddle/actor';
import { WasmKernels } from '@heddle/adapters/kernels';
import { OrtEngine } from '@heddle/adapters/ort';
import { OperationError, Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { decodeTrainingState } from '@heddle/interp/lorsa';
import { type BlobDigest, decodeOutcome } from '@heddle/ports';
import { CountingMetrics, MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { apply } from './apply/apply.ts';
import { openCheckpoint } from './checkpoint-files.ts';
import { LORSA_METRICS } from './metrics.ts';
import { syntheticLayer } from './synthetic-layer.ts';
import { trainKind } from './train-job.ts';
import { asJson, type TrainRequest } from './train-request.ts';
import { type RequestChanges, trainRequest } from './training-fixture.ts';

let engine: OrtEngine;
const kernels = new WasmKernels();
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

const dense = syntheticLayer(5);
const { host } = dense;

/** 80 sequences of 24 tokens, each starting with the special one. */
const prompts = Array.from({ length: 80 }, (_, i) => {
  const rng = new Rng(1000 + i);
  return { tokens: [0, ...Array.from({ length: 23 }, () => 1 + rng.below(63))] };
});

const request = (optimiser: object = {}, more: RequestChanges = {}) =>
  trainRequest({
    model: 'synthetic',
    backend: 'graph',
    seed: 3,
    checkpoint_steps: 20,
    ...more,
    architecture: { n_ov_heads: 64, n_qk_heads: 2, d_qk_head: 8, top_k: 8, ...more.architecture },
    optimiser: {
      ...{ steps: 60, batch: 8, context: 24, learning_rate: 5e-3, warmup_steps: 5 },
      ...optimiser,
    },
    data: { prompts, ...more.data },
  });

/** A world in which a job runs, is stopped, and runs again; what was saved outlives the runs. */
class World {
  readonly clock = new VirtualClock();
  readonly blobs = new MemoryBlobs(this.clock);
  readonly metrics = new CountingMetrics();
  readonly progress: Progress[] = [];
  /** Small shards: a training reads many of them. */
  readonly activations = dense.activations(this.blobs, 9);
  saved: Snapshot | undefined;
  saves = 0;

  constructor() {
    this.metrics.register(LORSA_METRICS);
  }

  /** `stopAt`: fires the signal once this many steps are reported. */
  async run(task: TrainRequest, stopAt = Number.POSITIVE_INFINITY) {
    const stop = new AbortController();
    const context: TaskContext = {
      signal: stop.signal,
      attempt: 1,
      blobs: this.blobs,
      clock: this.clock,
      log: silentLog,
      load: async () => this.saved,
      save: async (snapshot) => {
        this.saves++;
        this.saved = snapshot;
      },
      progress: (progress) => {
        this.progress.push(progress);
        if (progress.unit === 'steps' && progress.done >= stopAt) stop.abort(new Error('killed'));
      },
      pulse: async () => {
        if (stop.signal.aborted) throw stop.signal.reason;
      },
    };
    const kind = trainKind({
      engine,
      kernels: async () => kernels,
      activations: this.activations,
      metrics: this.metrics,
      versions: { heddle: 'test' },
      host: async () => host,
      sizes: async () => host,
    });
    const json = asJson(task);
    const output = await kind.run(
      { job: 'j', index: 0, count: 1, request: json, input: null },
      context,
    );
    assert.ok(output.bytes);
    return { output, outcome: decodeOutcome(output.bytes) };
  }

  steps(): readonly Progress[] {
    return this.progress.filter(({ unit }) => unit === 'steps');
  }
}

const weightsDigest = (outcome: { artifacts: readonly { name: string; digest: string }[] }) =>
  outcome.artifacts.find(({ name }) => name === 'checkpoint.safetensors')?.digest;

test('the loss falls, and the layer explains most of the dense one’s variance on held-out text', async () => {
  const world = new World();
  const { outcome, output } = await world.run(request({ steps: 240 }));
  const { summary } = outcome;
  const [first, last] = [world.steps()[0], world.steps().at(-1)];
  assert.ok((last?.figures?.['loss'] ?? 1) < 0.5 * (first?.figures?.['loss'] ?? 0));
  // Eight of 64 heads for a layer of rank 16: no exact answer exists, the mean alone leaves 1.
  assert.ok((summary['fvu'] as number) < 0.25, `FVU ${summary['fvu']}`);
  assert.ok((summary['l0'] as number) <= 8 && (summary['l0'] as number) > 4);
  assert.equal(summary['steps'], 240);
  assert.equal(summary['heads'], 64);
  assert.equal(output.provenance?.['seed'], 3);
  assert.equal(world.metrics.value('lorsa_trainer_steps_total'), 240);
  assert.equal(world.metrics.value('lorsa_trainer_tokens_total'), 240 * 8 * 23);
});

test('killed at any step and resumed, the checkpoint is the same to the byte', async () => {
  const whole = await new World().run(request());
  for (const stopAt of [1, 20, 37]) {
    const world = new World();
    await assert.rejects(world.run(request(), stopAt), /killed/);
    const resumedFrom = world.saved?.cursor ?? -1;
    assert.ok(resumedFrom <= stopAt + 8 && resumedFrom % 20 === 0);
    const { outcome } = await world.run(request());
    assert.equal(weightsDigest(outcome), weightsDigest(whole.outcome), `stopped at ${stopAt}`);
    const done = world.metrics.value('lorsa_trainer_steps_total');
    assert.ok(done <= 60 + 20, `${done} steps for 60 and one kill`);
  }
});

test('a checkpoint continues no other request', async () => {
  const world = new World();
  await assert.rejects(world.run(request(), 30), /killed/);
  await assert.rejects(
    world.run(request({ learning_rate: 1e-3 })),
    (error: OperationError) => error.code === 'data_loss' && /another request/.test(error.message),
  );
});

test('starting from the host’s heads beats starting from nothing', async () => {
  const fvuAtStart = async (init: string) => {
    const { outcome } = await new World().run(
      request({ steps: 1, learning_rate: 1e-9 }, { architecture: { init } }),
    );
    return outcome.summary['fvu'] as number;
  };
  const [xavier, subspace] = [await fvuAtStart('xavier'), await fvuAtStart('active_subspace')];
  assert.ok(subspace < 0.8 && subspace < xavier - 0.2, `${subspace}, ${xavier}`);
});

test('the checkpoint of a job applies to new activations with the FVU that the job reports', async () => {
  const world = new World();
  const { output, outcome } = await world.run(request());
  const { digest } = await world.blobs.put(output.bytes as Uint8Array);
  const sources = {
    blobs: world.blobs,
    hub: { open: () => Promise.reject(new Error('no folder is needed')) },
    jobResult: (id: string) => world.blobs.read(id as BlobDigest),
  };
  const { layer, provenance } = await openCheckpoint(sources, digest);
  assert.equal(provenance['model_digest'], 'synthetic-5');
  assert.equal(layer.hookIn, host.hookIn);
  const held = prompts.slice(72).map(({ tokens }) => tokens);
  let error = 0;
  let square = 0;
  const total = new Float64Array(16);
  for (const ids of held) {
    const { [host.hookIn]: x, [host.hookOut]: y } = dense.values(ids);
    assert.ok(x && y);
    const { tensors } = await apply(
      { layer, input: x, zPattern: true, pattern: true, target: y },
      { engine: undefined, signal: AbortSignal.timeout(10_000), breathe: async () => {} },
    );
    assert.deepEqual(
      tensors.map(({ name, tensor }) => [name, ...tensor.shape]),
      [
        ['feature_acts', 24, 64],
        ['reconstruction', 24, 16],
        ['z_pattern', 64, 24, 24],
        ['pattern', 2, 24, 24],
      ],
    );
    const reconstruction = tensors[1]?.tensor.data ?? [];
    for (let at = 16; at < y.data.length; at++) {
      const value = y.data[at] as number;
      error += (value - (reconstruction[at] as number)) ** 2;
      square += value ** 2;
      total[at % 16]! += value;
    }
  }
  const fvu = error / (square - total.reduce((a, t) => a + t * t, 0) / (8 * 23));
  // fp64 twin against fp32 engine: the sums differ in the sixth digit.
  assert.ok(Math.abs(fvu - (outcome.summary['fvu'] as number)) < 1e-4, `${fvu}`);
});

test('the checkpoint’s files have the names and metadata that the format asks for', async () => {
  const world = new World();
  const { outcome } = await world.run(request({ steps: 2 }));
  const weights = outcome.artifacts.find(({ name }) => name === 'checkpoint.safetensors');
  const file = readSafetensors('x', await world.blobs.read(weights?.digest as BlobDigest));
  assert.ok(file.names().includes('dataset_average_activation_norm.blocks.0.hook_attn_out'));
  assert.ok(file.header.metadata.has('version'));
  const config = outcome.artifacts.find(({ name }) => name === 'config.json');
  const text = new TextDecoder().decode(await world.blobs.read(config?.digest as BlobDigest));
  assert.equal(JSON.parse(text).norm_activation, 'dataset-wise');
});

/** Past what a request may ask. */
const absurd = (task: TrainRequest): TrainRequest => ({
  ...task,
  optimiser: { ...task.optimiser, learning_rate: 1e30 },
});

for (const backend of ['graph', 'sparse']) {
  test(`a learning rate that blows up stops the ${backend} backend, naming step, tensor and the last good checkpoint`, async () => {
    const world = new World();
    const more = { backend, checkpoint_steps: 1 };
    await assert.rejects(
      world.run(absurd(request({ warmup_steps: 1 }, more))),
      (error: OperationError) => {
        assert.ok(error instanceof OperationError, String(error));
        assert.equal(error.code, 'failed_precondition', error.message);
        const { step, tensor, checkpoint_step } = error.details;
        assert.ok(typeof step === 'number' && step >= 1 && typeof tensor === 'string');
        assert.ok((checkpoint_step as number) < step);
        assert.match(error.message, /learning rate/);
        assert.equal(world.saved?.cursor, checkpoint_step);
        return true;
      },
    );
    const { state } = decodeTrainingState(world.saved?.bytes as Uint8Array);
    for (const [name, { data }] of Object.entries(state.tensors)) {
      assert.ok(data.every(Number.isFinite), `${name} of the last checkpoint is finite`);
    }
  });
}
