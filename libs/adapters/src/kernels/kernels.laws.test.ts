import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Rng } from '@heddle/core';
import type { SparseKernels, SparseSums } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import { WasmKernels } from './index.ts';
import { drawBatch, drawUpdate, type KernelCase, loadAll, sizesOf } from './kernel-cases.ts';

const opened: SparseKernels[] = [];
after(() => Promise.all(opened.map((kernels) => kernels.close())));

/** Several turns of every kernel, the last one short, so that threads do share the work. */
const WIDE: KernelCase = {
  ...{ d_model: 70, n_ov_heads: 210, n_qk_heads: 7, batch: 3, pos: 67 },
  ...{ slots: 6, auxSlots: 5 },
};

interface Trace {
  readonly sums: readonly SparseSums[];
  readonly norms: readonly number[];
  readonly tensors: ReadonlyMap<string, ArrayLike<number>>;
}

/** Two steps from the same start, one clipped and one not, with everything that they leave behind. */
async function trace(threads: number): Promise<Trace> {
  const kernels = await new WasmKernels({ threads }).open(sizesOf(WIDE));
  opened.push(kernels);
  const rng = new Rng(11);
  await loadAll(rng, WIDE, [kernels]);
  const sums: SparseSums[] = [];
  const norms: number[] = [];
  const tensors = new Map<string, ArrayLike<number>>();
  const keep = (name: string, { data }: Tensor<'f32'>) => tensors.set(name, data.slice());
  for (const clipNorm of [0.5, Number.POSITIVE_INFINITY]) {
    sums.push(await kernels.backward(drawBatch(rng, WIDE)));
    keep(`U, clip ${clipNorm}`, kernels.cotangent(WIDE.batch, WIDE.pos));
    norms.push((await kernels.update(drawUpdate(rng, kernels, clipNorm))).gradientNorm);
  }
  for (const [name, value] of Object.entries(kernels.state)) keep(name, value);
  keep('decoder norms', kernels.decoderNorms);
  return { sums, norms, tensors };
}

test('one, two and three threads leave the same bits everywhere', async () => {
  const alone = await trace(1);

  for (const threads of [2, 3]) {
    for (let repeat = 0; repeat < 3; repeat++) {
      const shared = await trace(threads);

      assert.deepEqual(shared.sums, alone.sums, `${threads} threads`);
      assert.deepEqual(shared.norms, alone.norms, `${threads} threads`);
      for (const [name, data] of alone.tensors) {
        assert.deepEqual(shared.tensors.get(name), data, `${name}, ${threads} threads`);
      }
    }
  }
});

test('a token that does not count changes nothing, whatever its values are', async () => {
  const [clean, dirty] = [await open(), await open()];
  const rng = new Rng(2);
  await loadAll(rng, WIDE, [clean, dirty]);
  const batch = drawBatch(rng, WIDE);
  const spoilt = { ...batch, y: { ...batch.y, data: batch.y.data.slice() } };
  batch.valid.data.forEach((counts, t) => {
    if (counts === 0) spoilt.y.data.fill(Number.NaN, t * WIDE.d_model, (t + 1) * WIDE.d_model);
  });
  assert.ok(spoilt.y.data.some(Number.isNaN), 'some token does not count');

  assert.deepEqual(await dirty.backward(spoilt), await clean.backward(batch));
  assert.deepEqual(await dirty.rowGradients(), await clean.rowGradients());
});

test('the gradient norm is that of all gradients together', async () => {
  const kernels = await open();
  const rng = new Rng(4);
  await loadAll(rng, WIDE, [kernels]);
  await kernels.backward(drawBatch(rng, WIDE));
  const rows = await kernels.rowGradients();
  const update = drawUpdate(rng, kernels, Number.POSITIVE_INFINITY);

  const { gradientNorm } = await kernels.update(update);

  let sum = 0;
  for (const { data } of [...Object.values(rows), ...Object.values(update.dense)]) {
    for (const slope of data) sum += slope * slope;
  }
  assert.ok(Math.abs(gradientNorm / Math.sqrt(sum) - 1) < 1e-6, `${gradientNorm}`);
});

async function open(): Promise<SparseKernels> {
  const kernels = await new WasmKernels().open(sizesOf(WIDE));
  opened.push(kernels);
  return kernels;
}
