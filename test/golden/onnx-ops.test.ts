import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { encodeModel, interpret } from '@heddle/onnx';
import { type BuiltCase, buildCase, isDifferentiable, OP_CASES } from '@heddle/onnx/op-cases';
import { showShape, type Tensor } from '@heddle/tensor';

/**
 * ONNX Runtime in fp32 against the fp64 interpreter, on the same fp32 feeds. A case chains at most some 20 roundings of 6e-8
 * (a gradient's longest path), sums at most 64 terms of magnitude below 20, and ORT's own exp, erf and tanh are good to
 * 3e-7: together below 1e-5 of max(1, largest expected element).
 */
const TOLERANCE = 1e-5;
const SEEDS = [11, 12, 13];

let engine: OrtEngine;
before(async () => {
  engine = await OrtEngine.start({ providers: ['cpu'], threads: 1 });
});
after(() => engine.close());

async function runInOrt(digest: string, { graph, feeds }: BuiltCase) {
  const program = {
    digest,
    bytes: encodeModel(graph),
    weightsDirectory: undefined,
    residentBytes: 0,
  };
  const keep = graph.outputs.map(({ name }) => name);
  const [outputs] = await engine.run({ steps: [{ program, feeds, keep }] });
  return outputs as Readonly<Record<string, Tensor>>;
}

/** The comparison, and what a person needs to see when it fails. */
function assertClose(name: string, actual: Tensor, expected: Tensor): void {
  assert.deepEqual([...actual.shape], [...expected.shape], `${name}: shape`);
  const pairs = [...expected.data].map((value, i) => ({
    i,
    expected: Number(value),
    actual: Number(actual.data[i]),
  }));
  const largest = pairs.reduce((most, pair) => Math.max(most, Math.abs(pair.expected)), 1);
  const error = (pair: { actual: number; expected: number }) =>
    Object.is(pair.actual, pair.expected) ? 0 : Math.abs(pair.actual - pair.expected);
  // Written so that a NaN on one side only is wrong.
  const wrong = pairs.filter((pair) => !(error(pair) <= TOLERANCE * largest));
  const shown = wrong.slice(0, 5).map((pair) => `[${pair.i}] ${pair.actual}, not ${pair.expected}`);
  const worst = Math.max(...wrong.map(error));
  const size = showShape(expected.shape);
  assert.ok(wrong.length === 0, `${name} ${size}: off by up to ${worst}: ${shown.join('; ')}`);
}

async function compare(digest: string, built: BuiltCase): Promise<void> {
  const expected = interpret(built.graph, built.feeds);
  const actual = await runInOrt(digest, built);
  for (const [name, tensor] of Object.entries(expected)) {
    const found = actual[name];
    assert.ok(found !== undefined, `${digest}: ORT gave no ${name}`);
    assert.equal(found.dtype, tensor.dtype === 'f64' ? 'f32' : tensor.dtype, name);
    assertClose(`${digest}: ${name}`, found, tensor);
  }
}

for (const opCase of OP_CASES) {
  test(`ONNX Runtime computes ${opCase.title} as the interpreter does`, async () => {
    for (const seed of SEEDS) {
      await compare(`${opCase.title} ${seed}`, buildCase(opCase, seed, false));
    }
  });

  if (!isDifferentiable(buildCase(opCase, SEEDS[0] as number, false))) continue;
  test(`ONNX Runtime computes the gradient of ${opCase.title} as the interpreter does`, async () => {
    for (const seed of SEEDS) {
      await compare(`gradient of ${opCase.title} ${seed}`, buildCase(opCase, seed, true));
    }
  });
}
