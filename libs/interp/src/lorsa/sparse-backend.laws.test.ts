import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { ADAM_DEFAULTS } from './adam.ts';
import { rotaryTables } from './graph-backend.ts';
import { interpretingEngine } from './interpreting-engine.ts';
import { referenceKernels } from './kernels.reference.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, parameterNames, parameterShape } from './lorsa-weights.ts';
import { sparseBackend, sparseSizes } from './sparse-backend.ts';
import { stateFeeds } from './state-feeds.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';
import type { AuxiliarySettings, TrainStep } from './train-backend.ts';
import { buildTrainStep, stepFeeds } from './train-graph.ts';
import { initialState } from './training-state.ts';

const BATCH = 2;
const START = { epochRng: new Rng(1).snapshot(), norms: { input: 1, output: 1 } };
const POS = 37; // two causal blocks of unequal length

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['plain', {}],
  ['signed', { signed: true }],
  ['signed without the decoder norm', { signed: true, decoderNormInGate: false }],
  [
    'no decoder norm in the gate, no decoder bias',
    { decoderNormInGate: false, useDecoderBias: false },
  ],
  ['rotary, adjacent', { rotary: { dim: 4, base: 100, layout: 'adjacent' } }],
  ['rotary, half split', { rotary: { dim: 4, base: 100, layout: 'half' } }],
  [
    'partial rotary and query-key norm',
    { rotary: { dim: 2, base: 100, layout: 'half' }, qkNormEps: 1e-6 },
  ],
  ['query-key norm without rotary', { qkNormEps: 1e-3 }],
  ['one pattern for all heads', { n_qk_heads: 1 }],
  ['one pattern per head', { n_qk_heads: 8 }],
];

const AUXILIARY: AuxiliarySettings = { coefficient: 0.3, topK: 2, deadTokens: 100 };
const DEAD = { silentTokens: Float64Array.of(0, 200, 100, 99, 0, 300, 0, 1e6) };
const ALIVE = { silentTokens: new Float64Array(8) };

function near(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
  tolerance = 1e-9,
) {
  assert.equal(actual.length, expected.length, what);
  const size = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (let at = 0; at < expected.length; at++) {
    const [a, e] = [actual[at]!, expected[at]!];
    assert.ok(Math.abs(a - e) <= tolerance * Math.max(1e-3, size), `${what}[${at}]: ${a}, ${e}`);
  }
}

function makeCase(changes: Partial<LorsaConfig>) {
  const config = tinyLorsaConfig({ n_ctx: 64, ...changes });
  const rng = new Rng(171);
  const weights = randomLorsa(config, rng);
  for (const name of ['W_Q', 'W_K'] as const) {
    weights[name].data.forEach((w, at) => {
      weights[name].data[at] = w / 4; // diffuse attention, so that the queries' gradients are not tiny
    });
  }
  if (!config.useDecoderBias) weights.b_D.data.fill(0);
  const valid = new Float64Array(BATCH * POS).fill(1);
  valid.fill(0, 60);
  valid[0] = 0;
  return {
    config,
    weights,
    x: randomRows(rng, BATCH, POS, 6),
    y: randomRows(rng, BATCH, POS, 6),
    valid: tensor('f64', [BATCH, POS], valid),
  };
}

type Case = ReturnType<typeof makeCase>;

const numbers = (config: LorsaConfig, clipNorm = Number.POSITIVE_INFINITY) => ({
  ...{ topK: config.topK, rate: 0.01, step: 1, clipNorm, adam: ADAM_DEFAULTS },
});

/** The graph's step, interpreted in fp64, with its gradients. */
function graphStep(given: Case, auxiliary?: AuxiliarySettings) {
  const { config, weights, x, y, valid } = given;
  const zero = (name: keyof LorsaWeights) =>
    tensor('f64', parameterShape(config, name), weights[name]!.data.map(() => 0) as Float64Array);
  const names = parameterNames(config);
  const state = names.flatMap((name) => {
    const feeds = stateFeeds(name);
    return [
      [feeds.p, weights[name]!],
      [feeds.m, zero(name)],
      [feeds.v, zero(name)],
    ];
  });
  const scalar = (value: number) => tensor('f64', [], Float64Array.of(value));
  return interpret(
    buildTrainStep(config, { withGradients: true, auxiliary: auxiliary !== undefined }),
    {
      ...Object.fromEntries(state),
      ...stepFeeds(numbers(config)),
      ...rotaryTables(config)(POS),
      ...{ x, y, valid },
      ...(auxiliary
        ? {
            aux_k: tensor('i64', [1], BigInt64Array.of(BigInt(auxiliary.topK))),
            aux_coefficient: scalar(auxiliary.coefficient),
            dead_tokens: scalar(auxiliary.deadTokens),
            silent_tokens: tensor('f64', [8], DEAD.silentTokens),
          }
        : {}),
    },
  );
}

/** The sparse step on the kernels' twin in fp64; gradients read off Adam's first moment. */
async function sparseStep(
  given: Case,
  options: {
    auxiliary?: AuxiliarySettings;
    clipNorm?: number;
    winners?: Tensor<'i32'>;
    dead?: typeof DEAD;
  } = {},
) {
  const { config, weights } = given;
  const { auxiliary, clipNorm = Number.POSITIVE_INFINITY, winners, dead = DEAD } = options;
  const about = { config, auxiliary, tokensMax: BATCH * POS + 3, topKMax: config.topK };
  const kernels = referenceKernels(
    sparseSizes({ ...about, clips: Number.isFinite(clipNorm) }),
    'f64',
  );
  const backend = sparseBackend({
    ...about,
    ...{ engine: interpretingEngine, program: (graph) => graph, kernels, reportsWinners: true },
  });
  const state = parameterNames(config).flatMap((name) => {
    const feeds = stateFeeds(name);
    const none = { ...weights[name]!, data: weights[name]!.data.map(() => 0) };
    return [
      [feeds.p, weights[name]],
      [feeds.m, none],
      [feeds.v, none],
    ] as const;
  });
  await backend.load(Object.fromEntries(state) as never);
  const { x, y, valid } = given;
  const step = { x, y, valid, winners, numbers: numbers(config, clipNorm) } as unknown as TrainStep;
  const [report] = await backend.run([step], { dead });
  const after = backend.tensors();
  const gradient = (name: string) =>
    Array.from(after[`adam_m.${name}`]!.data, (m) => m / (1 - ADAM_DEFAULTS.beta1));
  return { report: report!, gradient, after };
}

function compare(
  given: Case,
  graph: ReturnType<typeof graphStep>,
  sparse: Awaited<ReturnType<typeof sparseStep>>,
  factor = 1,
) {
  for (const name of parameterNames(given.config)) {
    const expected = (graph[`gradient.${name}`]!.data as Float64Array).map((g) => g * factor);
    near(sparse.gradient(name), expected, name);
    // A bias on every key alike moves all scores of a row by the same amount, which softmax does not see.
    const blind = name === 'b_K' && !given.config.rotary && given.config.qkNormEps === undefined;
    assert.ok(
      blind || expected.some((g) => Math.abs(g) > 1e-6),
      `${name} has a gradient to compare`,
    );
  }
  const { report } = sparse;
  const single = (name: string) => Number(graph[name]!.data[0]);
  near([report.loss, report.gradientNorm], [single('loss'), single('gradient_norm')], 'loss, norm');
  const { tokens, error, square, active, total } = report.sums;
  near(
    [tokens, error, square, active],
    ['tokens', 'error_sum', 'square_sum', 'active_sum'].map(single),
    'sums',
    1e-7,
  );
  near(total, graph['total']!.data as Float64Array, 'total', 1e-7);
  assert.deepEqual(Array.from(report.fired), Array.from(graph['fired']!.data as Float64Array));
  const among = Array.from(graph['winners']!.data as never as ArrayLike<number>, Number);
  const chosen = Array.from(sparse.report.winners!.data);
  // The graph goes on with heads that are not active; how many are, `fired` has said.
  const expected = among.map((head, at) => (chosen[at] === -1 ? -1 : head));
  assert.deepEqual(chosen, expected, 'the same winners, in the same order');
}

for (const [name, changes] of VARIANTS) {
  test(`${name}: both backends give the same gradients, sums and winners`, async () => {
    const given = makeCase(changes);
    compare(given, graphStep(given), await sparseStep(given));
  });

  test(`${name}: with AuxK both backends give the same gradients and sums`, async () => {
    const given = makeCase(changes);
    const graph = graphStep(given, AUXILIARY);
    const sparse = await sparseStep(given, { auxiliary: AUXILIARY });
    assert.ok(sparse.report.auxiliaryLoss > 0);
    near([sparse.report.auxiliaryLoss], [Number(graph['auxiliary_loss']!.data[0])], 'auxiliary');
    compare(given, graph, sparse);
  });
}

test("a clipped gradient has the norm that was asked for, in the graph's direction", async () => {
  const given = makeCase({});
  const graph = graphStep(given);
  const norm = Number(graph['gradient_norm']!.data[0]);
  const sparse = await sparseStep(given, { clipNorm: norm / 3 });
  compare(given, graph, sparse, norm / 3 / (norm + 1e-6));
});

test('given winners win although others are stronger', async () => {
  const given = makeCase({});
  const free = await sparseStep(given);
  const again = await sparseStep(given, { winners: free.report.winners! });
  assert.deepEqual(again.after, free.after);
  const shape = free.report.winners!.shape;
  const moved = Int32Array.from(free.report.winners!.data, (i) => (i + 1) % 8);
  const other = await sparseStep(given, { winners: tensor('i32', shape, moved) });
  assert.deepEqual(Array.from(other.report.winners!.data), Array.from(moved));
  assert.notEqual(other.report.loss, free.report.loss);
});

test('AuxK without a dead head changes no bit', async () => {
  const given = makeCase({});
  const plain = await sparseStep(given);
  const aux = await sparseStep(given, { auxiliary: AUXILIARY, dead: ALIVE });
  assert.deepEqual(aux.after, plain.after);
  assert.equal(aux.report.auxiliaryLoss, 0);
});

test('a step that fails half way, or whose loss is not finite, has not happened', async () => {
  const { config, weights, x, y, valid } = makeCase({});
  const about = { config, tokensMax: BATCH * POS, topKMax: config.topK };
  let failing = true;
  const engine: typeof interpretingEngine = {
    run: (plan, options = {}) =>
      interpretingEngine.run(plan, {
        ...options,
        onStep: async (index, outputs) => {
          await options.onStep?.(index, outputs);
          if (failing) throw new Error('the engine died after the first graph');
        },
      }),
  };
  const kernels = referenceKernels(sparseSizes({ ...about, clips: false }), 'f64');
  const backend = sparseBackend({ ...about, engine, program: (graph) => graph, kernels });
  await backend.load(initialState(config, weights, START).tensors);
  const before = backend.tensors();
  const step = (target: Tensor) => ({ x, y: target, valid, numbers: numbers(config) }) as never;

  await assert.rejects(backend.run([step(y)], { dead: ALIVE }), /died after/);
  assert.deepEqual(backend.tensors(), before);

  failing = false;
  const broken = { ...y, data: y.data.map((v, at) => (at === 100 ? Number.NaN : v)) };
  const [report] = await backend.run([step(broken)], { dead: ALIVE });
  assert.ok(Number.isNaN(report!.loss));
  assert.deepEqual(backend.tensors(), before);

  await backend.run([step(y)], { dead: ALIVE });
  assert.notDeepEqual(backend.tensors(), before);
});
