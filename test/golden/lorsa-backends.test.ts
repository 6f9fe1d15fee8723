import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import { WasmKernels } from '@heddle/adapters/kernels';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import {
  ADAM_DEFAULTS,
  type BackendOptions,
  buildTrainStep,
  checkLorsaConfig,
  graphBackend,
  initialiseLevelA,
  initialState,
  type LorsaConfig,
  rotaryTables,
  sparseBackend,
  sparseSizes,
  stepFeeds,
  type TrainBackend,
  type TrainStep,
} from '@heddle/interp/lorsa';
import { encodeModel, type Graph } from '@heddle/onnx';
import type { Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';

/** Both backends as they train: ONNX Runtime and the WASM kernels, fp32. Laws in fp64 stand beside the backends. */

const BATCH = 3;
const POS = 40;
const D_MODEL = 24;

const BASE: LorsaConfig = {
  d_model: D_MODEL,
  n_ov_heads: 96,
  n_qk_heads: 4,
  d_qk_head: 8,
  n_ctx: 64,
  activation: 'topk',
  topK: 6,
  signed: false,
  decoderNormInGate: true,
  useDecoderBias: true,
  attnScale: Math.sqrt(8),
  rotary: { dim: 8, base: 10000, layout: 'half' },
  qkNormEps: undefined,
};

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['half-split rotary', {}],
  ['adjacent rotary', { rotary: { dim: 8, base: 100, layout: 'adjacent' } }],
  [
    'partial rotary and query-key norm',
    { rotary: { dim: 4, base: 100, layout: 'half' }, qkNormEps: 1e-6 },
  ],
  ['no rotary, one pattern for all heads', { rotary: undefined, n_qk_heads: 1 }],
  ['signed, no decoder bias', { signed: true, useDecoderBias: false }],
  ['no decoder norm in the gate', { decoderNormInGate: false }],
];

const engine = await OrtEngine.start({ threads: 1 });
after(() => engine.close());

function program(graph: Graph): Program {
  const bytes = encodeModel(graph);
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { digest, bytes, weightsDirectory: undefined, residentBytes: 0 };
}

function optionsFor(changes: Partial<LorsaConfig>, more: Partial<BackendOptions<Program>> = {}) {
  const config = checkLorsaConfig({ ...BASE, ...changes });
  return { config, engine, program, tokensMax: BATCH * POS, topKMax: config.topK, ...more };
}

async function sparse(options: BackendOptions<Program>): Promise<TrainBackend> {
  const kernels = await new WasmKernels({ threads: 1 }).open(
    sparseSizes({ ...options, clips: true }),
  );
  return sparseBackend({ ...options, kernels });
}

function startOf(config: LorsaConfig) {
  const rng = new Rng(5);
  const weights = initialiseLevelA(config, rng);
  // Attention that is not uniform, so that queries and keys have gradients worth comparing.
  for (const name of ['W_Q', 'W_K', 'b_Q', 'b_K'] as const) {
    weights[name].data.forEach((_, at) => {
      weights[name].data[at] = rng.normal() / 3;
    });
  }
  return initialState(config, weights, {
    epochRng: rng.snapshot(),
    norms: { input: 1, output: 1 },
  });
}

const normals = (rng: Rng, shape: readonly number[]) =>
  tensor(
    'f32',
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

/** A batch whose target follows from its input, so that the loss can fall. */
function stepOf(config: LorsaConfig, step: number, clipNorm: number): TrainStep {
  const rng = new Rng(1000 + step);
  const shape = [BATCH, POS, D_MODEL];
  const x = normals(rng, shape);
  const y = tensor(
    'f32',
    shape,
    x.data.map((value) => value / 2 + 1),
  );
  const valid = tensor('f32', [BATCH, POS], new Float32Array(BATCH * POS).fill(1));
  valid.data.fill(0, BATCH * POS - 9);
  valid.data[0] = 0;
  return {
    x,
    y,
    valid,
    numbers: { topK: config.topK, rate: 1e-2, step, clipNorm, adam: ADAM_DEFAULTS },
  };
}

const alive = (config: LorsaConfig) => ({ silentTokens: new Float64Array(config.n_ov_heads) });

/** Largest difference in units of the tensor's largest entry. */
function relative(actual: Tensor<'f32'>, expected: Tensor<'f32'>): number {
  const size = expected.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = actual.data.reduce((most, value, at) => {
    return Math.max(most, Math.abs(value - (expected.data[at] ?? Number.NaN)));
  }, 0);
  return size === 0 ? worst : worst / size;
}

for (const [name, changes] of VARIANTS) {
  for (const clipNorm of [Number.POSITIVE_INFINITY, 0.05]) {
    const how = Number.isFinite(clipNorm) ? 'clipped' : 'not clipped';
    test(`${name}, ${how}: gradients of both backends are equal to 1e-5 given the same winners`, async () => {
      const options = optionsFor(changes, { reportsWinners: true });
      const { config } = options;
      const [first, second] = [graphBackend(options), await sparse(options)];
      const state = startOf(config);
      const step = stepOf(config, 1, clipNorm);
      await Promise.all([first.load(state.tensors), second.load(state.tensors)]);
      const [graph] = await first.run([step], { dead: alive(config) });
      const winners = graph?.winners;
      const [report] = await second.run([{ ...step, winners }], { dead: alive(config) });
      assert.ok(graph && report && winners);

      // From moments of zero, Adam's first moment is (1 − β1) times the gradient.
      const [expected, actual] = [first.tensors(), second.tensors()];
      for (const feed of Object.keys(state.tensors).filter((n) => n.startsWith('adam_m.'))) {
        const blind = feed === 'adam_m.b_K' && !config.rotary && config.qkNormEps === undefined;
        if (blind) continue; // a bias on every key alike moves no softmax: its gradient is rounding
        const error = relative(actual[feed] as Tensor<'f32'>, expected[feed] as Tensor<'f32'>);
        assert.ok(error <= 1e-5, `${feed}: ${error}`);
      }
      assert.ok(Math.abs(report.loss / graph.loss - 1) < 1e-5);
      assert.ok(Math.abs(report.gradientNorm / graph.gradientNorm - 1) < 1e-5);
      assert.deepEqual(report.fired, graph.fired);
      await second.close();
    });
  }
}

test('with AuxK, gradients of both backends are equal to 1e-5', async () => {
  const auxiliary = { coefficient: 0.5, topK: 8, deadTokens: 200 };
  const options = optionsFor({}, { reportsWinners: true, auxiliary });
  const { config } = options;
  const dead = alive(config);
  dead.silentTokens.fill(500, 40);
  const [first, second] = [graphBackend(options), await sparse(options)];
  const state = startOf(config);
  const step = stepOf(config, 1, Number.POSITIVE_INFINITY);
  await Promise.all([first.load(state.tensors), second.load(state.tensors)]);
  const [graph] = await first.run([step], { dead });
  const [report] = await second.run([{ ...step, winners: graph?.winners }], { dead });
  assert.ok(graph && report && graph.auxiliaryLoss > 0);
  assert.ok(Math.abs(report.auxiliaryLoss / graph.auxiliaryLoss - 1) < 1e-5);
  const [expected, actual] = [first.tensors(), second.tensors()];
  for (const feed of Object.keys(state.tensors).filter((n) => n.startsWith('adam_m.'))) {
    const error = relative(actual[feed] as Tensor<'f32'>, expected[feed] as Tensor<'f32'>);
    assert.ok(error <= 1e-5, `${feed}: ${error}`);
  }
  await second.close();
});

test('losses of 50 steps agree to 1e-4 when the winners of graph are replayed', async () => {
  const options = optionsFor({}, { reportsWinners: true });
  const { config } = options;
  const [first, second] = [graphBackend(options), await sparse(options)];
  const state = startOf(config);
  await Promise.all([first.load(state.tensors), second.load(state.tensors)]);
  const losses: number[] = [];
  for (let at = 1; at <= 50; at++) {
    const step = stepOf(config, at, 1);
    const [graph] = await first.run([step], { dead: alive(config) });
    const winners = graph?.winners;
    const [report] = await second.run([{ ...step, winners }], { dead: alive(config) });
    assert.ok(graph && report);
    assert.ok(
      Math.abs(report.loss / graph.loss - 1) < 1e-4,
      `${at}: ${report.loss}, ${graph.loss}`,
    );
    losses.push(graph.loss);
  }
  assert.ok((losses.at(-1) ?? 0) < 0.9 * (losses[0] ?? 0), 'the training trains');
  await second.close();
});

for (const make of [graphBackend, sparse]) {
  test(`${make.name}: a state that was taken out and loaded elsewhere goes on to the same bits`, async () => {
    const auxiliary = { coefficient: 0.1, topK: 8, deadTokens: 200 };
    const options = optionsFor({}, { auxiliary });
    const { config } = options;
    const dead = alive(config);
    dead.silentTokens.fill(500, 40); // some heads are dead
    const [through, broken] = [await make(options), await make(options)];
    await through.load(startOf(config).tensors);
    const steps = [1, 2, 3, 4].map((at) => stepOf(config, at, 1));
    for (const step of steps) await through.run([step], { dead });

    await broken.load(startOf(config).tensors);
    for (const step of steps.slice(0, 2)) await broken.run([step], { dead });
    const resumed = await make(options);
    await resumed.load(broken.tensors());
    for (const step of steps.slice(2)) {
      const [report] = await resumed.run([step], { dead });
      assert.ok((report?.auxiliaryLoss ?? 0) > 0);
    }
    assert.deepEqual(resumed.tensors(), through.tensors());
    for (const backend of [through, broken, resumed]) await backend.close();
  });
}

test('graph: steps in one plan give the same bits as steps one by one, dead heads counted inside', async () => {
  const auxiliary = { coefficient: 0.1, topK: 8, deadTokens: 300 };
  const options = optionsFor({}, { auxiliary, stepsMax: 8 });
  const { config } = options;
  const [chained, single] = [graphBackend(options), graphBackend(options)];
  const steps = Array.from({ length: 6 }, (_, at) => stepOf(config, at + 1, 1));
  for (const backend of [chained, single]) await backend.load(startOf(config).tensors);
  const together = await chained.run(steps, { dead: alive(config) });
  let dead = alive(config);
  const apart = [];
  for (const step of steps) {
    const [report] = await single.run([step], { dead });
    assert.ok(report);
    apart.push(report);
    const { fired, sums } = report;
    dead = {
      silentTokens: dead.silentTokens.map((n, i) => ((fired[i] ?? 0) > 0 ? 0 : n + sums.tokens)),
    };
  }
  assert.deepEqual(chained.tensors(), single.tensors());
  assert.deepEqual(together, apart);
  assert.ok(apart.at(-1)?.auxiliaryLoss !== 0, 'heads died on the way');
});

test('graph: AuxK without a dead head changes no bit', async () => {
  const { config } = optionsFor({});
  const { x, y, valid, numbers } = stepOf(config, 1, 1);
  const { tensors } = startOf(config);
  const feeds = { ...tensors, x, y, valid, ...stepFeeds(numbers), ...rotaryTables(config)(POS) };
  const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
  const aux = {
    aux_k: tensor('i64', [1], BigInt64Array.of(8n)),
    aux_coefficient: scalar(0.1),
    dead_tokens: scalar(1000),
    silent_tokens: tensor('f32', [96], new Float32Array(96).fill(999)),
  };
  const keep = [...Object.keys(tensors).map((name) => `next.${name}`), 'gradient_norm', 'fired'];
  const [plain, revived] = await engine.run({
    steps: [
      { program: program(buildTrainStep(config)), feeds, keep },
      {
        program: program(buildTrainStep(config, { auxiliary: true })),
        feeds: { ...feeds, ...aux },
        keep,
      },
    ],
  });
  assert.deepEqual(revived, plain);
});
