import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Rng } from '@heddle/core';
import { type LorsaConfig, parameterNames, referenceKernels } from '@heddle/interp/lorsa';
import type { SparseBatch, SparseKernels, SparseSizes, SparseUpdate } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { WasmKernels } from './index.ts';

/** Kernels in WebAssembly against the slow twin, on shapes that no SIMD lane divides. */

const opened: SparseKernels[] = [];
after(() => Promise.all(opened.map((kernels) => kernels.close())));

async function open(sizes: SparseSizes, threads = 1): Promise<SparseKernels> {
  const kernels = await new WasmKernels({ threads }).open(sizes);
  opened.push(kernels);
  return kernels;
}

interface Case {
  readonly d_model: number;
  readonly n_ov_heads: number;
  readonly n_qk_heads: number;
  readonly batch: number;
  readonly pos: number;
  readonly slots: number;
  readonly auxSlots?: number;
  readonly signed?: boolean;
  readonly useDecoderBias?: boolean;
  readonly qkNorm?: boolean;
}

const CASES: Readonly<Record<string, Case>> = {
  'round numbers': { d_model: 64, n_ov_heads: 64, n_qk_heads: 4, batch: 2, pos: 40, slots: 8 },
  'a d_model that no lane divides': {
    ...{ d_model: 37, n_ov_heads: 21, n_qk_heads: 3, batch: 3, pos: 7, slots: 5 },
    qkNorm: true,
  },
  'K of one, d_model below a lane': {
    ...{ d_model: 3, n_ov_heads: 5, n_qk_heads: 1, batch: 1, pos: 9, slots: 1 },
    useDecoderBias: false,
  },
  'every head active, values of both signs': {
    ...{ d_model: 33, n_ov_heads: 6, n_qk_heads: 2, batch: 2, pos: 5, slots: 6 },
    signed: true,
  },
  'dead heads revived': {
    ...{ d_model: 50, n_ov_heads: 30, n_qk_heads: 5, batch: 2, pos: 70, slots: 4, auxSlots: 7 },
  },
};

function configOf(of: Case): LorsaConfig {
  return {
    d_model: of.d_model,
    n_ov_heads: of.n_ov_heads,
    n_qk_heads: of.n_qk_heads,
    d_qk_head: 3,
    n_ctx: of.pos,
    activation: 'topk',
    topK: of.slots,
    signed: of.signed ?? false,
    decoderNormInGate: true,
    useDecoderBias: of.useDecoderBias ?? true,
    attnScale: 2,
    rotary: undefined,
    qkNormEps: of.qkNorm ? 1e-6 : undefined,
  };
}

const sizesOf = (of: Case, keepsGradients = true): SparseSizes => ({
  config: configOf(of),
  tokensMax: of.batch * of.pos + 3,
  slotsMax: of.slots + 1,
  auxSlotsMax: of.auxSlots ?? 0,
  keepsGradients,
});

const normal = (rng: Rng, ...shape: number[]): Tensor<'f32'> =>
  tensor(
    'f32',
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

/** Distinct heads for each token; some slots empty (their index names no head), some tokens with none. */
function drawPairs(rng: Rng, of: Case, slots: number) {
  const tokens = of.batch * of.pos;
  const indices = new Int32Array(tokens * slots).fill(-1);
  const values = new Float32Array(tokens * slots);
  for (let t = 0; t < tokens; t++) {
    const heads = rng.shuffle(Array.from({ length: of.n_ov_heads }, (_, i) => i));
    const active = rng.uniform() < 0.1 ? 0 : slots - rng.below(2) * rng.below(slots);
    for (let s = 0; s < active; s++) {
      indices[t * slots + s] = heads[s] ?? 0;
      // Every third value is the same: ties are for the gate to settle, not for the kernels.
      const z = s % 3 === 0 ? 0.75 : Math.abs(rng.normal()) + 0.01;
      values[t * slots + s] = of.signed && rng.uniform() < 0.5 ? -z : z;
    }
  }
  const shape = [tokens, slots];
  return { indices: tensor('i32', shape, indices), values: tensor('f32', shape, values) };
}

function drawBatch(rng: Rng, of: Case): SparseBatch {
  const { batch, pos, d_model, slots, auxSlots } = of;
  const valid = normal(rng, batch, pos);
  valid.data.forEach((_, t) => {
    valid.data[t] = t === 0 || rng.uniform() < 0.8 ? 1 : 0;
  });
  const active = drawPairs(rng, of, slots);
  const y = normal(rng, batch, pos, d_model);
  if (auxSlots === undefined) return { batch, pos, y, valid, active };
  const pairs = drawPairs(rng, of, auxSlots);
  return { batch, pos, y, valid, active, auxiliary: { pairs, coefficient: 0.3 } };
}

/** The same state and Y in all of them. Second moments are positive, so that no step is a sign of rounding noise. */
async function load(rng: Rng, of: Case, all: readonly SparseKernels[]): Promise<void> {
  const [first, ...others] = all;
  assert.ok(first);
  const mixed = first.mixed(of.batch, of.pos);
  for (const { data } of [...Object.values(first.state), mixed]) {
    data.forEach((_, at) => {
      data[at] = rng.normal();
    });
  }
  for (const [name, { data }] of Object.entries(first.state)) {
    if (name.startsWith('adam_v.')) data.set(data.map((v) => v * v + 0.1));
  }
  for (const other of others) {
    for (const [name, { data }] of Object.entries(other.state)) {
      data.set(first.state[name]?.data ?? []);
    }
    other.mixed(of.batch, of.pos).data.set(mixed.data);
  }
  for (const kernels of all) await kernels.measureNorms();
}

function drawUpdate(rng: Rng, kernels: SparseKernels, clipNorm: number): SparseUpdate {
  const dense = Object.entries(kernels.state)
    .filter(([name]) => /^(W_[QK]|b_[QK]|ln_[qk])$/.test(name))
    .map(([name, { shape }]) => [name, normal(rng, ...shape)] as const);
  const adam = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, correction1: 0.271, correction2: 0.0297 };
  return { rate: 0.01, ...adam, clipNorm, dense: Object.fromEntries(dense) };
}

/** Largest difference is at most 2e-6 of the largest number: sums of some hundred products in single precision. */
function near(actual: Tensor, expected: Tensor, what: string): void {
  assert.deepEqual(actual.shape, expected.shape, what);
  let scale = 1e-30;
  let worst = 0;
  expected.data.forEach((value, at) => {
    scale = Math.max(scale, Math.abs(Number(value)));
    const difference = Math.abs(Number(actual.data[at]) - Number(value));
    // NaN is further than anything.
    worst = Math.max(worst, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  });
  assert.ok(worst <= 2e-6 * scale, `${what}: off by ${worst} of ${scale}`);
}

const vector = (data: Float32Array): Tensor => tensor('f32', [data.length], data);

function nearSums(
  actual: Awaited<ReturnType<SparseKernels['backward']>>,
  expected: typeof actual,
): void {
  for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
    const [a, b] = [actual[name], expected[name]];
    const rows = (x: typeof a) => vector(typeof x === 'number' ? Float32Array.of(x) : x);
    near(rows(a), rows(b), name);
  }
}

const stateNames = (of: Case): string[] =>
  parameterNames(configOf(of)).flatMap((name) => [name, `adam_m.${name}`, `adam_v.${name}`]);

for (const [name, of] of Object.entries(CASES)) {
  test(`${name}: sums, U, row gradients and two Adam steps are those of the slow twin`, async () => {
    const rng = new Rng(7);
    const fast = await open(sizesOf(of));
    const slow = referenceKernels(sizesOf(of));
    await load(rng, of, [fast, slow]);
    near(fast.decoderNorms, slow.decoderNorms, 'decoder norms');

    for (const clipNorm of [0.05, Number.POSITIVE_INFINITY]) {
      const batch = drawBatch(rng, of);
      nearSums(await fast.backward(batch), await slow.backward(batch));
      near(fast.cotangent(of.batch, of.pos), slow.cotangent(of.batch, of.pos), 'U');
      const [gradients, expected] = [await fast.rowGradients(), await slow.rowGradients()];
      assert.deepEqual(Object.keys(gradients).sort(), Object.keys(expected).sort());
      for (const [parameter, slope] of Object.entries(expected)) {
        near(gradients[parameter] as Tensor, slope, `d${parameter}`);
      }
      const update = drawUpdate(rng, fast, clipNorm);
      const norms = [await fast.update(update), await slow.update(update)].map((of) =>
        vector(Float32Array.of(of.gradientNorm)),
      );
      near(norms[0] as Tensor, norms[1] as Tensor, 'gradient norm');
      for (const feed of stateNames(of)) {
        near(fast.state[feed] as Tensor, slow.state[feed] as Tensor, feed);
      }
      near(fast.decoderNorms, slow.decoderNorms, 'decoder norms after the step');
    }
  });
}

test('an infinite clip norm moves the state like one that is never reached', async () => {
  const of = CASES['dead heads revived'] as Case;
  const rng = new Rng(3);
  const [fused, kept] = [await open(sizesOf(of, false)), await open(sizesOf(of))];
  await load(rng, of, [fused, kept]);
  const batch = drawBatch(rng, of);
  const update = drawUpdate(rng, fused, Number.POSITIVE_INFINITY);

  for (const kernels of [fused, kept]) await kernels.backward(batch);
  const first = await fused.update(update);
  const second = await kept.update({ ...update, clipNorm: 1e30 });

  assert.equal(first.gradientNorm, second.gradientNorm);
  for (const feed of stateNames(of)) {
    assert.deepEqual(fused.state[feed]?.data, kept.state[feed]?.data, feed);
  }
});

test('with clipping, a gradient that is not finite changes nothing', async () => {
  const of = CASES['round numbers'] as Case;
  const rng = new Rng(5);
  const kernels = await open(sizesOf(of));
  await load(rng, of, [kernels]);
  await kernels.backward(drawBatch(rng, of));
  const update = drawUpdate(rng, kernels, 1);
  (update.dense['W_Q'] as Tensor<'f32'>).data[1] = Number.NaN;
  const before = Object.entries(kernels.state).map(([name, { data }]) => [name, data.slice()]);

  const { gradientNorm } = await kernels.update(update);

  assert.ok(Number.isNaN(gradientNorm));
  for (const [name, data] of before) {
    assert.deepEqual(kernels.state[name as string]?.data, data, name as string);
  }
});

test('a pair that names no head is refused before it reaches the memory', async () => {
  const of = CASES['round numbers'] as Case;
  const rng = new Rng(5);
  const kernels = await open(sizesOf(of));
  const batch = drawBatch(rng, of);
  batch.active.indices.data[0] = of.n_ov_heads;
  batch.active.values.data[0] = 1;

  await assert.rejects(kernels.backward(batch), /there is no head 64/);
});
