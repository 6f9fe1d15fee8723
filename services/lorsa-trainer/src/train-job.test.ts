import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { JobView, Progress, Snapshot, TaskContext } from '@heddle/actor';
import { WasmKernels } from '@heddle/adapters/kernels';
import { OrtEngine } from '@heddle/adapters/ort';
import { OperationError, Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { decodeTrainingState } from '@heddle/interp/lorsa';
import { type BlobDigest, decodeOutcome, type JobOutcome, type Kernels } from '@heddle/ports';
import { CountingMetrics, MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { apply } from './apply/apply.ts';
import { openCheckpoint } from './checkpoint-files.ts';
import type { CurvePoint } from './curve.ts';
import { LORSA_METRICS } from './metrics.ts';
import { syntheticLayer } from './synthetic-layer.ts';
import { trainKind } from './train-job.ts';
import { asJson, type TrainRequest } from './train-request.ts';
import { documentHashes } from './trained-documents.ts';
import { type RequestChanges, trainRequest } from './training-fixture.ts';
import { trainingResult } from './training-result.ts';

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
  /** What passes on the clock between two plans. */
  pulseMs = 0;
  private readonly groupBytes: number;
  private readonly kernels: Kernels;

  constructor(groupBytes = 2 ** 20, own: Kernels = kernels) {
    this.groupBytes = groupBytes;
    this.kernels = own;
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
        await this.clock.advance(this.pulseMs);
        if (stop.signal.aborted) throw stop.signal.reason;
      },
    };
    const kind = trainKind({
      engine,
      kernels: async () => this.kernels,
      activations: this.activations,
      metrics: this.metrics,
      versions: { heddle: 'test' },
      groupBytes: this.groupBytes,
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

const artifact = (outcome: JobOutcome, wanted: string) =>
  outcome.artifacts.find(({ name }) => name === wanted)?.digest;

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

for (const backend of ['graph', 'sparse']) {
  test(`killed at any step and resumed, the ${backend} backend's checkpoint is the same to the byte`, async () => {
    const task = request({}, { backend });
    const whole = await new World().run(task);
    assert.equal(whole.outcome.summary['backend'], backend);
    for (const stopAt of [1, 20, 37]) {
      const world = new World();
      await assert.rejects(world.run(task, stopAt), /killed/);
      const resumedFrom = world.saved?.cursor ?? -1;
      assert.ok(resumedFrom <= stopAt + 8 && resumedFrom % 20 === 0);
      const { outcome } = await world.run(task);
      assert.equal(weightsDigest(outcome), weightsDigest(whole.outcome), `stopped at ${stopAt}`);
      assert.deepEqual(artifact(outcome, 'curve.json'), artifact(whole.outcome, 'curve.json'));
      const done = world.metrics.value('lorsa_trainer_steps_total');
      assert.ok(done <= 60 + 20, `${done} steps for 60 and one kill`);
    }
  });
}

test('text larger than memory is read in groups of shards, and a killed training resumes in the midst of one', async () => {
  // 72 sequences of 24 tokens of 16 numbers in shards of 9; two shards fit together.
  const shardBytes = 9 * 24 * 16 * 8;
  const task = request({ steps: 40, batch: 7 }, { checkpoint_steps: 3 });
  const whole = await new World(2 * shardBytes).run(task);
  for (const stopAt of [5, 22]) {
    const world = new World(2 * shardBytes);
    await assert.rejects(world.run(task, stopAt), /killed/);
    const { outcome } = await world.run(task);
    assert.equal(weightsDigest(outcome), weightsDigest(whole.outcome), `stopped at ${stopAt}`);
  }
  const inOneGroup = await new World().run(task);
  assert.notEqual(weightsDigest(inOneGroup.outcome), weightsDigest(whole.outcome));
  const [a, b] = [whole, inOneGroup].map(({ outcome }) => outcome.summary['fvu'] as number);
  assert.ok(Math.abs((a ?? 0) - (b ?? 1)) < 0.1, `${a}, ${b}`);
});

test('a batch of special tokens only is passed over', async () => {
  const bare = Array.from({ length: 9 }, () => ({ tokens: [0, 0] }));
  const some = [...bare, ...prompts.slice(0, 3), ...bare.slice(0, 1), ...prompts.slice(3, 4)];
  const { outcome } = await new World().run(
    request({ steps: 20, batch: 1 }, { data: { prompts: some } }),
  );
  assert.equal(outcome.summary['tokens'], 20 * 23);
});

test('two trainings of the same layer and text share one pass', async () => {
  const world = new World();
  const first = await world.run(request({ steps: 4 }));
  world.saved = undefined;
  const second = await world.run(request({ steps: 4, learning_rate: 1e-3 }, { seed: 9 }));
  assert.equal(world.activations.passes, 1);
  const job = first.outcome.summary['activations'];
  assert.equal(second.outcome.summary['activations'], job);

  world.saved = undefined;
  const { layer, architecture } = request();
  const named = trainRequest({
    ...{ model: 'synthetic', layer, architecture: { ...architecture, n_ov_heads: 32 } },
    optimiser: { steps: 2, batch: 4 },
    data: { activations: job as string },
    backend: 'graph',
  });
  const third = await world.run(named);
  assert.equal(world.activations.passes, 1);
  assert.equal(third.outcome.summary['activations'], job);
});

test('the result tells what it was trained on, and every reference that its evaluation needs', async () => {
  const world = new World();
  const { outcome, output } = await world.run(request({ steps: 4 }));
  const listed = await world.blobs.read(artifact(outcome, 'documents.bin') as BlobDigest);
  const hashes = documentHashes(listed);
  assert.equal(hashes.length, 72, 'the last tenth of 80 prompts is held out');
  assert.deepEqual(
    [...hashes],
    [...new Set(hashes)].sort((a, b) => (a < b ? -1 : 1)),
  );
  const { provenance = {} } = output;
  assert.ok(output.references?.includes(provenance['activations'] as BlobDigest));
  assert.equal(provenance['backend'], 'graph');
  assert.equal(outcome.summary['biases_copied'], true);
  assert.equal(outcome.summary['documents'], 72);
  // Half of 4 steps of 8 sequences of 23 tokens that count.
  assert.equal(outcome.summary['dead_after_tokens'], (4 * 8 * 23) / 2);
});

test('a held-out document that was trained on too measures nothing; text with nothing else is refused', async () => {
  const again = prompts.slice(0, 4);
  const some = [...prompts.slice(0, 36), ...again.slice(0, 3), prompts[50] as (typeof prompts)[0]];
  const { outcome } = await new World().run(request({ steps: 2 }, { data: { prompts: some } }));
  assert.deepEqual(
    [outcome.summary['held_out_left_out'], outcome.summary['held_out_tokens']],
    [3, 23],
  );
  const only = [...prompts.slice(0, 36), ...again];
  await assert.rejects(
    new World().run(request({ steps: 2 }, { data: { prompts: only } })),
    (error: OperationError) => error.code === 'invalid_argument' && error.field === 'data',
  );
  const special = Array.from({ length: 20 }, () => ({ tokens: [0, 0, 0] }));
  await assert.rejects(
    new World().run(request({ steps: 2 }, { data: { prompts: special } })),
    /none counts in a loss/,
  );
});

test('checkpoints come as often as the request says; unless it does, also no sooner than five seconds after one another', async () => {
  const savesOf = async (checkpoint_steps: number, pulseMs: number): Promise<number> => {
    const world = new World();
    world.pulseMs = pulseMs;
    await world.run(request({ steps: 200, batch: 1 }, { checkpoint_steps }));
    return world.saves;
  };
  // One at the beginning, none at the end.
  assert.equal(await savesOf(50, 0), 4);
  assert.equal(await savesOf(0, 0), 1);
  assert.equal(await savesOf(0, 60_000), 4);
});

test('the curve has the first step and the last, and no more than two hundred', async () => {
  const points = async (steps: number) => {
    const world = new World();
    const { outcome } = await world.run(request({ steps, batch: 2 }));
    const bytes = await world.blobs.read(artifact(outcome, 'curve.json') as BlobDigest);
    return (JSON.parse(new TextDecoder().decode(bytes)) as { points: CurvePoint[] }).points;
  };
  const short = await points(5);
  assert.deepEqual(
    short.map(({ step, tokens, k }) => [step, tokens, k]),
    [1, 2, 3, 4, 5].map((step) => [step, step * 2 * 23, 8]),
  );
  const long = await points(450);
  assert.ok(long.length > 100 && long.length <= 200, `${long.length}`);
  assert.deepEqual([long[0]?.step, long.at(-1)?.step], [1, 450]);
});

test('K falls as it was asked to, and every figure of a step is told', async () => {
  const world = new World();
  const top_k_schedule = { shape: 'linear', from: 16, steps: 20 };
  const { outcome } = await world.run(request({ steps: 40, top_k_schedule }));
  const told = world.steps().map(({ figures }) => figures?.['top_k'] ?? 0);
  assert.ok((told[0] ?? 0) > 8 && told.at(-1) === 8, told.join(' '));
  assert.ok((outcome.summary['l0'] as number) <= 8);
  const names = Object.keys(world.steps().at(-1)?.figures ?? {});
  for (const name of ['loss', 'fvu', 'l0', 'dead_heads', 'dense_heads', 'gradient_norm']) {
    assert.ok(names.includes(name), name);
  }
  assert.equal(world.metrics.value('lorsa_trainer_top_k_heads'), 8);
});

for (const backend of ['graph', 'sparse']) {
  test(`signed heads, AuxK and centred pre-activations train with the ${backend} backend`, async () => {
    const { outcome } = await new World().run(
      request(
        { steps: 120, clip_norm: 5 },
        {
          backend,
          architecture: { signed: true, centre_pre_activations: true },
          auxiliary: { coefficient: 0.03, top_k: 4, dead_tokens: 200 },
        },
      ),
    );
    const { summary } = outcome;
    assert.ok((summary['fvu'] as number) < 0.3, `FVU ${summary['fvu']}`);
    assert.deepEqual([summary['signed'], summary['auxiliary']], [true, 0.03]);
  });
}

test('where the machine does not give the memory of sparse, the default trains by graph and says why; a demand fails', async () => {
  const poor: Kernels = {
    estimate: (sizes) => kernels.estimate(sizes),
    open: async () => {
      throw new OperationError({ code: 'resource_exhausted', message: 'no memory today' });
    },
  };
  const { outcome } = await new World(2 ** 20, poor).run(request({ steps: 2 }, { backend: '' }));
  assert.deepEqual(
    [outcome.summary['backend'], outcome.summary['backend_reason']],
    ['graph', 'no memory today'],
  );
  await assert.rejects(
    new World(2 ** 20, poor).run(request({ steps: 2 }, { backend: 'sparse' })),
    /no memory today/,
  );
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
      { engine: undefined, signal: new AbortController().signal, breathe: async () => {} },
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
    const failed = { id: 'j', kind: 'lorsa.train', request: asJson(request()) } as JobView;
    const jobResult = trainingResult({
      blobs: world.blobs,
      jobs: {
        result: async () => {
          throw new OperationError({ code: 'failed_precondition', message: 'it failed' });
        },
        get: async () => failed,
        checkpoint: async () => world.saved,
      },
    });
    const hub = { open: () => assert.fail('no folder is needed') };
    const { layer, provenance } = await openCheckpoint({ blobs: world.blobs, hub, jobResult }, 'j');
    assert.deepEqual(layer.weights.W_O.data, state.tensors['W_O']?.data);
    assert.equal(provenance['step'], state.step);
    for (const [name, { data }] of Object.entries(state.tensors)) {
      assert.ok(data.every(Number.isFinite), `${name} of the last checkpoint is finite`);
    }
  });
}
