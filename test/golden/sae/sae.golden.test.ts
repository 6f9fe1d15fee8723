import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { readSafetensors } from '@heddle/formats';
import { ADAM_DEFAULTS, stepFeeds } from '@heddle/interp/lorsa';
import {
  buildSaeStep,
  SAE_PARAMETERS,
  SAE_STATE,
  type SaeConfig,
  type SaeWeights,
  saeGradients,
} from '@heddle/interp/sae';
import { encodeModel, interpret } from '@heddle/onnx';
import { type Tensor, tensor, zeros } from '@heddle/tensor';

const file = readSafetensors(
  'values.safetensors',
  readFileSync(`${import.meta.dirname}/values.safetensors`),
);
const header = (key: string) => Number(file.header.metadata.get(key));
const golden = (name: string) => file.tensor(name) as Tensor<'f64'>;
const config: SaeConfig = { d_model: 8, d_sae: 20, topK: header('k') };
const graph = buildSaeStep(config, { withGradients: true });
const [, TOKENS = 0] = golden('valid').shape;

let engine: OrtEngine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

const start = Object.fromEntries(
  SAE_PARAMETERS.map((name) => [name, golden(`start.${name}`)]),
) as unknown as SaeWeights<Tensor<'f64'>>;

function row(name: string, step: number): Tensor<'f64'> {
  const [, ...shape] = golden(name).shape;
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor('f64', shape, golden(name).data.slice(step * size, (step + 1) * size));
}

function near(actual: ArrayLike<number>, name: string, tolerance: number): void {
  const expected = golden(name).data;
  assert.equal(actual.length, expected.length, name);
  const scale = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
  expected.forEach((v, at) => {
    const off = Math.abs((actual[at] as number) - v) / scale;
    assert.ok(off <= tolerance, `${name}[${at}]: ${actual[at]}, torch ${v}`);
  });
}

test('the values say with what they were made', () => {
  for (const key of ['producer', 'torch', 'seed', 'date', 'command']) {
    assert.ok(file.header.metadata.get(key), key);
  }
});

test('activations, reconstruction and gradients of the twin are PyTorch’s', () => {
  const valid = row('valid', 0).data;
  const tokens = valid.reduce((a, b) => a + b, 0);
  const twin = saeGradients(config, start, {
    y: row('y', 0),
    weight: valid.map((v) => v / tokens),
  });
  near(twin.forward.featureActs.data, 'feature_acts', 1e-12);
  near(twin.forward.reconstruction.data, 'reconstruction', 1e-12);
  near([twin.loss], '0.loss', 1e-12);
  for (const name of SAE_PARAMETERS) near(twin.gradients[name].data, `gradient.${name}`, 1e-12);
});

type Run = (feeds: Record<string, Tensor>) => Promise<Record<string, Tensor>>;

/** The optimiser's numbers in double: fp32's 0.999 alone would move a step by 1e-5 of itself. */
function scalars(numbers: Parameters<typeof stepFeeds>[0]): Record<string, Tensor> {
  const { beta1, beta2 } = ADAM_DEFAULTS;
  const exact = {
    ...ADAM_DEFAULTS,
    learning_rate: numbers.rate,
    correction1: 1 - beta1 ** numbers.step,
    correction2: 1 - beta2 ** numbers.step,
    clip_norm: numbers.clipNorm,
  };
  const fed = Object.entries(exact).map(([name, value]) => {
    return [name, tensor('f64', [], Float64Array.of(value))] as const;
  });
  return { ...stepFeeds(numbers), ...Object.fromEntries(fed) };
}

/** Three steps; every loss, the first gradients and the last weights against PyTorch's. */
async function train(run: Run, tolerance: number): Promise<void> {
  let state: Record<string, Tensor> = Object.fromEntries(
    SAE_STATE.map((feed) => {
      const name = feed.slice(feed.indexOf('.') + 1) as keyof typeof start;
      return [feed, feed === name ? start[name] : zeros('f64', start[name].shape)];
    }),
  );
  for (let step = 0; step < 3; step++) {
    const y = row('y', step);
    const out = await run({
      ...scalars({
        topK: config.topK,
        rate: header('learning_rate'),
        step: step + 1,
        clipNorm: header('clip_norm'),
        adam: ADAM_DEFAULTS,
      }),
      ...state,
      y: { ...y, shape: [1, ...y.shape] },
      valid: tensor('f64', [1, TOKENS], row('valid', step).data),
    });
    const data = (name: string) => out[name]?.data as Float64Array;
    near(data('loss'), `${step}.loss`, tolerance);
    near(data('gradient_norm'), `${step}.norm`, tolerance);
    if (step === 0) {
      for (const name of SAE_PARAMETERS)
        near(data(`gradient.${name}`), `gradient.${name}`, tolerance);
    }
    state = Object.fromEntries(SAE_STATE.map((feed) => [feed, out[`next.${feed}`] as Tensor]));
  }
  for (const name of SAE_PARAMETERS) {
    near(state[name]?.data as Float64Array, `end.${name}`, tolerance);
  }
}

test('three steps in the interpreter are PyTorch’s three steps', async () => {
  // The clip's and Adam's epsilons are constants of the graph, in double too: nothing is left but rounding.
  await train(async (feeds) => interpret(graph, feeds), 1e-11);
});

test('three steps on the engine are PyTorch’s three steps to single precision', async () => {
  const program = {
    digest: 'golden-sae',
    bytes: encodeModel(graph),
    weightsDirectory: undefined,
    residentBytes: 0,
  };
  const single = (t: Tensor) =>
    t.dtype === 'f64' ? tensor('f32', t.shape, Float32Array.from(t.data as Float64Array)) : t;
  await train(async (feeds) => {
    const plain = Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, single(t)]));
    const keep = graph.outputs.map(({ name }) => name);
    const [out] = await engine.run({ steps: [{ program, feeds: plain, keep }] });
    return (out ?? {}) as Record<string, Tensor>;
  }, 1e-5);
});
