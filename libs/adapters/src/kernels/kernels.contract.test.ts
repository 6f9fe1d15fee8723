import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Rng } from '@heddle/core';
import { referenceKernels } from '@heddle/interp/lorsa';
import type { SparseKernels, SparseSizes } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { WasmKernels } from './index.ts';
import { CASES, drawBatch, drawUpdate, loadAll, sizesOf, stateNames } from './kernel-cases.ts';

/** Kernels in WebAssembly against the slow twin, on shapes that no SIMD lane divides. */

const opened: SparseKernels[] = [];
after(() => Promise.all(opened.map((kernels) => kernels.close())));

async function open(sizes: SparseSizes, threads = 1): Promise<SparseKernels> {
  const kernels = await new WasmKernels({ threads }).open(sizes);
  opened.push(kernels);
  return kernels;
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

for (const [name, of] of Object.entries(CASES)) {
  test(`${name}: sums, U, row gradients and two Adam steps are those of the slow twin`, async () => {
    const rng = new Rng(7);
    const fast = await open(sizesOf(of));
    const slow = referenceKernels(sizesOf(of));
    await loadAll(rng, of, [fast, slow]);
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
  const of = CASES['dead heads revived'];
  const rng = new Rng(3);
  const [fused, kept] = [await open(sizesOf(of, false)), await open(sizesOf(of))];
  await loadAll(rng, of, [fused, kept]);
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
  const of = CASES['round numbers'];
  const rng = new Rng(5);
  const kernels = await open(sizesOf(of));
  await loadAll(rng, of, [kernels]);
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
  const of = CASES['round numbers'];
  const rng = new Rng(5);
  const kernels = await open(sizesOf(of));
  const batch = drawBatch(rng, of);
  batch.active.indices.data[0] = of.n_ov_heads;
  batch.active.values.data[0] = 1;

  await assert.rejects(kernels.backward(batch), /there is no head 64/);
});
