import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { JobView, Progress, Snapshot, TaskContext } from '@heddle/actor';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { initialiseLevelA, type LorsaLayer, mapWeights, toF32 } from '@heddle/interp/lorsa';
import { DETECTORS } from '@heddle/interp/lorsa/heads';
import type { SaeLayer } from '@heddle/interp/sae';
import { type BlobDigest, decodeOutcome } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { CountingMetrics, MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { LORSA_METRICS } from '../metrics.ts';
import { syntheticLayer } from '../synthetic-layer.ts';
import type { Unseen, UnseenShard } from '../unseen.ts';
import { analyseKind } from './analyse-job.ts';
import type { AnalyseDeps } from './analysis.ts';
import { AnalysisFile } from './analysis-file.ts';
import { type AnalysisRequest, asJson } from './analysis-request.ts';
import { FinishedAnalyses } from './finished-analyses.ts';

let engine: OrtEngine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

const { host } = syntheticLayer(5);
const D = host.d_model;
const TOKENS = 300;
const HEADS = 32;

const rng = new Rng(11);
const normal = (count: number, scale = 1) =>
  Float32Array.from({ length: count }, () => scale * rng.normal());
/** What the host has at its input for each token, and how it is unembedded. */
const embeddings = normal(TOKENS * D);
const rows = tensor('f32', [TOKENS, D], normal(TOKENS * D));

const config = {
  ...{ d_model: D, n_ov_heads: HEADS, n_qk_heads: 2, d_qk_head: 8, n_ctx: 256, topK: 4 },
  ...{ activation: 'topk' as const, signed: false, decoderNormInGate: true, useDecoderBias: true },
  ...{ attnScale: host.attnScale, rotary: host.rotary, qkNormEps: undefined },
};
/** A layer that nobody trained. */
const random: LorsaLayer = {
  config,
  weights: mapWeights(initialiseLevelA(config, new Rng(2)), toF32),
  hookIn: host.hookIn,
  hookOut: host.hookOut,
  normalisation: 'inference',
};

const FEATURES = 40;
const encoders = normal(FEATURES * D);
const decoders = normal(FEATURES * D);

/** A random SAE, its features numbered in some order. */
function saeOf(order: (feature: number) => number): SaeLayer {
  const W_enc = new Float32Array(FEATURES * D);
  const W_dec = new Float32Array(FEATURES * D);
  for (let feature = 0; feature < FEATURES; feature++) {
    const from = decoders.subarray(feature * D, (feature + 1) * D);
    const norm = Math.hypot(...from);
    for (let d = 0; d < D; d++) {
      W_dec[order(feature) * D + d] = (from[d] as number) / norm;
      W_enc[d * FEATURES + order(feature)] = encoders[feature * D + d] as number;
    }
  }
  return {
    config: { d_model: D, d_sae: FEATURES, topK: 4 },
    weights: {
      W_enc: tensor('f32', [D, FEATURES], W_enc),
      b_enc: tensor('f32', [FEATURES], new Float32Array(FEATURES)),
      W_dec: tensor('f32', [FEATURES, D], W_dec),
      b_dec: tensor('f32', [D], new Float32Array(D)),
    },
    hook: host.hookOut,
  };
}

function xOf(tokens: ArrayLike<number>, pos = tokens.length): Tensor<'f32'> {
  const x = new Float32Array(pos * D);
  for (let t = 0; t < tokens.length; t++) {
    const id = tokens[t] as number;
    x.set(embeddings.subarray(id * D, (id + 1) * D), t * D);
  }
  return tensor('f32', [pos, D], x);
}

/** Shards of sequences of 12 to 20 tokens, two of each document. */
function shardOf(index: number, sequences = 10): UnseenShard {
  const draw = new Rng(100 + index);
  const pos = 20;
  const tokens = new Int32Array(sequences * pos);
  const valid = new Uint8Array(sequences * pos);
  const x = new Float32Array(sequences * pos * D);
  const lengths = Int32Array.from({ length: sequences }, () => 12 + draw.below(9));
  lengths.forEach((length, b) => {
    for (let t = 1; t < length; t++) {
      tokens[b * pos + t] = 1 + draw.below(TOKENS - 1);
      valid[b * pos + t] = 1;
    }
    x.set(xOf(tokens.subarray(b * pos, b * pos + length), pos).data, b * pos * D);
  });
  const shape = [sequences, pos];
  return {
    x: tensor('f32', [...shape, D], x),
    y: tensor('f32', [...shape, D], x),
    valid: tensor('u8', shape, valid),
    tokens,
    lengths,
    documents: Array.from(lengths, (_, b) => BigInt(1000 * index + Math.floor(b / 2))),
  };
}

function unseenOf(layer: LorsaLayer, shards: number): Unseen {
  return {
    checkpoint: { layer, provenance: {}, digest: 'sha256:c' },
    ...{ model: 'm', source: 'held-out', sequences: shards * 10, tokens: 1, documents: 1 },
    ...{ leftOut: 0, trainedOnKnown: true, dataDigest: 'sha256:d', references: [] },
    async *shards(from = 0) {
      for (let index = from; index < shards; index++) yield shardOf(index);
    },
  };
}

/** A world in which an analysis runs, is stopped, and runs again; what was saved outlives the runs. */
class World {
  readonly blobs = new MemoryBlobs(new VirtualClock());
  readonly progress: Progress[] = [];
  readonly finished: JobView[] = [];
  saved: Snapshot | undefined;
  captures = 0;
  readonly metrics = new CountingMetrics();

  constructor() {
    this.metrics.register(LORSA_METRICS);
  }

  private deps(unseen: Unseen, baseline?: SaeLayer): AnalyseDeps {
    return {
      engine,
      metrics: this.metrics,
      versions: { heddle: 'test' },
      layer: async () => random,
      unseen: async () => unseen,
      host: async () => ({ ...host, n_ctx: 256 }),
      vocabulary: async () => ({ rows, gain: new Float64Array(D).fill(1), centre: false }),
      baseline: async () => ({ layer: baseline ?? assert.fail('not asked for'), digest: 's' }),
      encode: async () => [],
      prefix: async () => [0],
      texts: async (_, tokens) => new Map([...tokens].map((id) => [id, ` t${id}`])),
      capture: async (_, __, sequences) => {
        this.captures++;
        return sequences.map((tokens) => xOf(tokens));
      },
    };
  }

  /** `stopAt`: fires the signal once this many sequences are reported. */
  async run(
    options: { stopAt?: number; shards?: number; seed?: number; baseline?: SaeLayer } = {},
  ) {
    const { stopAt = Number.POSITIVE_INFINITY, shards = 4, seed = 0, baseline } = options;
    const stop = new AbortController();
    const context: TaskContext = {
      signal: stop.signal,
      attempt: 1,
      blobs: this.blobs,
      clock: new VirtualClock(),
      log: silentLog,
      load: async () => this.saved,
      save: async (snapshot) => {
        this.saved = snapshot;
      },
      progress: (progress) => {
        this.progress.push(progress);
        if (progress.unit === 'sequences' && progress.done >= stopAt)
          stop.abort(new Error('killed'));
      },
      pulse: async () => {
        if (stop.signal.aborted) throw stop.signal.reason;
      },
    };
    const analyses = new FinishedAnalyses({
      blobs: this.blobs,
      jobs: { list: async () => ({ jobs: this.finished }), get: () => assert.fail('not asked') },
      checkpoint: () => assert.fail('not asked'),
    });
    const request: AnalysisRequest = {
      ...{
        checkpoint: 'run-1',
        checkpoint_digest: 'sha256:c',
        model: '',
        seed,
        baseline: baseline !== undefined,
      },
      ...{ data: { prompts: [], corpus: '', tokens_max: 0, activations: '' } },
      ...{ samples: 5, quantile_samples: 3 },
    };
    const kind = analyseKind(this.deps(unseenOf(random, shards), baseline), analyses);
    const task = { job: 'j', index: 0, count: 1, request: asJson(request), input: null };
    const output = await kind.run(task, context);
    const bytes = output.bytes ?? (await this.blobs.read(output.blob as BlobDigest));
    const outcome = decodeOutcome(bytes);
    const [artifact] = outcome.artifacts;
    const file = new AnalysisFile(await this.blobs.read(artifact?.digest as BlobDigest));
    return { output, outcome, artifact, file };
  }
}

test('a layer that nobody trained stays under every detector’s threshold', async () => {
  const { outcome, file } = await new World().run();
  const { lorsa, shuffled } = file.facts.auroc;
  assert.ok(lorsa !== null && shuffled !== null, 'both halves of the documents have text');
  const asked = file.facts.detectors.filter((_, at) => Number.isFinite(file.score(0, at)));
  for (const name of ['previous_token', 'induction', 'sink']) {
    assert.ok(
      asked.some(({ detector }) => detector === name),
      `${name} was asked`,
    );
  }
  file.facts.detectors.forEach(({ detector, threshold }, at) => {
    for (let head = 0; head < HEADS; head++) {
      const score = file.score(head, at);
      assert.ok(!(score > threshold), `head ${head} scores ${score} as ${detector}`);
    }
  });
  assert.deepEqual(
    outcome.summary['heads_by_detector'],
    Object.fromEntries(Object.keys(DETECTORS).map((name) => [name, 0])),
  );
  const reasons = outcome.summary['not_applicable'] as Record<string, string>;
  assert.ok(reasons['name_mover'], 'without a tokenizer there are no names');
});

test('killed in the middle of any shard and resumed, the findings are the same to the byte', async () => {
  const whole = await new World().run();
  for (const stopAt of [3, 17, 39]) {
    const world = new World();
    await assert.rejects(world.run({ stopAt }), /killed/);
    assert.equal(world.saved?.cursor ?? 0, Math.floor(stopAt / 10), 'whole shards are kept');
    const { artifact } = await world.run();
    assert.equal(artifact?.digest, whole.artifact?.digest, `stopped at ${stopAt}`);
    const read = world.progress.filter(({ unit }) => unit === 'sequences').length;
    assert.ok(read <= 40 + 10, `${read} sequences for 40 and one kill`);
  }
});

test('the same checkpoint over the same text is not looked at twice', async () => {
  const world = new World();
  const { output, artifact, outcome } = await world.run();
  const { tokens } = outcome.summary;
  assert.equal(world.metrics.value('lorsa_trainer_analysed_tokens_total'), tokens);
  const result = await world.blobs.put(output.bytes as Uint8Array);
  world.finished.push({
    id: 'job-1',
    request: {},
    result: { ...result, references: output.references ?? [] },
    provenance: output.provenance ?? {},
  } as unknown as JobView);
  world.saved = undefined;
  const captures = world.captures;
  const again = await world.run();
  assert.equal(again.artifact?.digest, artifact?.digest);
  assert.equal(world.captures, captures, 'nothing was computed');
  assert.notEqual((await world.run({ seed: 1 })).output.bytes, undefined, 'another question');
});

test('samples are places of the text at which the head is that active, strongest first', async () => {
  const { file } = await new World().run();
  let seen = 0;
  for (let head = 0; head < HEADS; head++) {
    const { samples, frequency, activationMax } = file.head(head);
    assert.equal(samples.length === 0, frequency === 0, 'samples of heads that fire');
    if (samples[0]) assert.equal(samples[0].activation, activationMax);
    for (const { sequence, position, activation, quantile } of samples) {
      assert.ok(position > 0 && position < file.sequence(sequence).length);
      assert.ok(activation > 0 && quantile >= 0 && quantile <= 1);
      assert.equal(file.textOf(file.sequence(sequence)[position] as number).slice(0, 2), ' t');
      seen++;
    }
    const strongest = samples.slice(0, 5).map(({ activation }) => activation);
    assert.deepEqual(
      strongest,
      strongest.toSorted((a, b) => b - a),
    );
  }
  assert.ok(seen > HEADS);
});

test('raised tokens are those with the largest product of write row and unembedding', async () => {
  const { file } = await new World().run();
  const { W_O } = random.weights;
  for (const head of [0, 9, 31]) {
    const write = W_O.data.subarray(head * D, (head + 1) * D);
    const norm = Math.hypot(...write);
    const effects = Array.from({ length: TOKENS }, (_, token) =>
      [...write].reduce((sum, w, d) => sum + (w / norm) * (rows.data[token * D + d] as number), 0),
    );
    const mean = effects.reduce((a, b) => a + b, 0) / TOKENS;
    const { raises, lowers } = file.head(head).roles;
    const best = effects.indexOf(Math.max(...effects));
    const worst = effects.indexOf(Math.min(...effects));
    assert.deepEqual([raises[0]?.token, lowers[0]?.token], [best, worst]);
    assert.ok(Math.abs((raises[0]?.weight ?? 0) - ((effects[best] as number) - mean)) < 1e-4);
  }
});

test('beside a TopK SAE a head has the area of the feature that writes most like it, however they are numbered', async () => {
  const baseline = saeOf((feature) => feature);
  const whole = await new World().run({ baseline });
  const mean = whole.file.facts.auroc.baseline ?? Number.NaN;
  assert.ok(mean > 0 && mean < 1);
  const alone = await new World().run();
  assert.equal(alone.file.facts.auroc.baseline, null);
  assert.equal(alone.file.facts.auroc.lorsa, whole.file.facts.auroc.lorsa);
  const areas = (file: AnalysisFile) =>
    Array.from({ length: HEADS }, (_, head) => file.head(head).rule.baseline);
  assert.ok(areas(alone.file).every(Number.isNaN));
  const measured = areas(whole.file).filter(Number.isFinite);
  assert.ok(new Set(measured).size > 5, 'not one for all');
  const renumbered = await new World().run({ baseline: saeOf((f) => (7 * f + 3) % FEATURES) });
  assert.deepEqual(areas(renumbered.file), areas(whole.file));
  const world = new World();
  await assert.rejects(world.run({ stopAt: 25, baseline }), /killed/);
  assert.equal((await world.run({ baseline })).artifact?.digest, whole.artifact?.digest, 'resumed');
});

test('the estimate grows with the heads and with a baseline beside them', async () => {
  const kind = analyseKind(new World()['deps'](unseenOf(random, 1)), undefined as never);
  const data = { prompts: [], corpus: '', tokens_max: 0, activations: '' };
  const of = async (changes: object) => {
    const estimate = await kind.estimate?.({ checkpoint: 'c', data, samples: 8, ...changes });
    return estimate ?? assert.fail('no estimate');
  };
  const [plain, beside, short] = [
    await of({}),
    await of({ baseline: true }),
    await of({ data: { ...data, tokens_max: 1000 } }),
  ];
  assert.ok(plain.bytes > 4 * HEADS * 200 * 24 && beside.bytes > plain.bytes);
  assert.ok(short.seconds < plain.seconds && plain.seconds < beside.seconds);
});

test('a checkpoint that was changed since is refused', async () => {
  const world = new World();
  const changed = {
    ...unseenOf(random, 1),
    checkpoint: { layer: random, provenance: {}, digest: 'x' },
  };
  const deps = world['deps'](changed);
  const kind = analyseKind(deps, undefined as never);
  const request = { checkpoint: 'c', checkpoint_digest: 'sha256:c' };
  const task = { job: 'j', index: 0, count: 1, request, input: null };
  await assert.rejects(kind.run(task, {} as TaskContext), { code: 'failed_precondition' });
});
