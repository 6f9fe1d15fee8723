import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import { Rng } from '@heddle/core';
import type { SparseSizes } from '@heddle/ports';
import { WasmKernels } from './index.ts';
import { CASES, drawBatch, drawUpdate, loadAll, sizesOf } from './kernel-cases.ts';

const SMALL = CASES['round numbers'];

/** A layer of Llama-3.1-8B with the published width: 6 x 537 MB of state alone. */
function llamaSizes(): SparseSizes {
  const { config, ...sizes } = sizesOf(SMALL, false);
  const wide = { d_model: 4096, n_ov_heads: 32768, n_qk_heads: 256, d_qk_head: 128 };
  return { ...sizes, config: { ...config, ...wide, topK: 128 }, tokensMax: 2048, slotsMax: 128 };
}

test('a training that WebAssembly cannot address is refused with the estimate and offered graph', async () => {
  const kernels = new WasmKernels();
  const estimate = kernels.estimate(llamaSizes());

  assert.equal(estimate.fits, false);
  assert.equal(estimate.limitBytes, 2 ** 32);
  // Parameters and two moments of W_V, W_O, W_Q, W_K; gradients of the last two; A x and U of every shared head; reads.
  const numbers = (3 * 4 + 2) * 32768 * 4096 + 2 * 256 * 2048 * 4096 + 2048 * 32768;
  const atLeast = 4 * numbers;
  assert.ok(estimate.bytes > atLeast && estimate.bytes < 1.01 * atLeast, `${estimate.bytes}`);
  await assert.rejects(
    kernels.open(llamaSizes()),
    ({ code, message, details, retryable }: OperationError) => {
      assert.equal(code, 'resource_exhausted');
      assert.equal(retryable, false);
      assert.match(message, /choose the graph backend/);
      assert.equal(details['estimateBytes'], estimate.bytes);
      assert.equal(details['alternative'], 'graph');
      return true;
    },
  );
});

test('the memory that is made is the estimate, rounded up to a page', async () => {
  for (const of of Object.values(CASES)) {
    const port = new WasmKernels({ threads: 2 });
    const kernels = await port.open(sizesOf(of));
    const held = kernels.decoderNorms.data.buffer.byteLength;
    await kernels.close();

    assert.ok(held >= port.estimate(sizesOf(of)).bytes);
    assert.ok(held < port.estimate(sizesOf(of)).bytes + 65536);
  }
});

test('gradients that are not kept need no memory, and clipping then is a mistake', async () => {
  const port = new WasmKernels();
  const without = sizesOf(SMALL, false);
  assert.ok(port.estimate(without).bytes < port.estimate(sizesOf(SMALL)).bytes);
  const kernels = await port.open(without);
  const rng = new Rng(1);
  await loadAll(rng, SMALL, [kernels]);
  await kernels.backward(drawBatch(rng, SMALL));

  await assert.rejects(kernels.update(drawUpdate(rng, kernels, 1)), /clipping needs memory/);
  await kernels.close();
});

test('a step larger than the memory was made for is a mistake, not somebody else’s memory', async () => {
  const kernels = await new WasmKernels().open(sizesOf(SMALL));
  const larger = { ...SMALL, pos: SMALL.pos + 2 };

  await assert.rejects(kernels.backward(drawBatch(new Rng(1), larger)), /has room for/);
  await kernels.close();
});

test('closed kernels refuse calls, and two calls at a time are refused', async () => {
  const kernels = await new WasmKernels({ threads: 2 }).open(sizesOf(SMALL));
  const first = kernels.measureNorms();
  await assert.rejects(kernels.measureNorms(), /one call at a time/);
  await first;

  await kernels.close();
  await kernels.close();

  await assert.rejects(kernels.measureNorms(), /closed/);
});

/** A process ends by itself when no thread holds it: closed kernels hold none, idle ones neither. */
for (const ending of ['await kernels.close();', '']) {
  test(`a process ends with its kernels ${ending === '' ? 'idle' : 'closed'}`, () => {
    const script = `
      import { WasmKernels } from '${new URL('./index.ts', import.meta.url)}';
      const kernels = await new WasmKernels({ threads: 3 }).open(${JSON.stringify(sizesOf(SMALL))});
      await kernels.measureNorms();
      ${ending}
      console.log('done');`;
    const folder = mkdtempSync(join(tmpdir(), 'heddle-kernels-'));
    const file = join(folder, 'script.mjs');
    writeFileSync(file, script);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    rmSync(folder, { recursive: true });

    assert.equal(status, 0, stderr);
    assert.equal(stdout, 'done\n');
  });
}

test('closed memories are given back: twelve in a row never stand beside each other', async () => {
  const sizes: SparseSizes = { ...sizesOf(SMALL), tokensMax: 8192 }; // 23 MiB
  const port = new WasmKernels();
  const memories: WeakRef<ArrayBufferLike>[] = [];
  let most = 0;
  for (let i = 0; i < 12; i++) {
    const kernels = await port.open(sizes);
    memories.push(new WeakRef(kernels.decoderNorms.data.buffer));
    await kernels.close();
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, memories.filter((memory) => memory.deref()).length);
  }

  assert.ok(most <= 4, `${most} memories stood at once`);
});

test('a thousand steps leave memory flat', async () => {
  const of = { ...SMALL, pos: 200 }; // 100 KiB of y a step: a thousand kept ones would be 100 MiB
  const kernels = await new WasmKernels().open(sizesOf(of));
  const rng = new Rng(1);
  await loadAll(rng, of, [kernels]);
  const batch = drawBatch(rng, of);
  const update = drawUpdate(rng, kernels, 1);
  const steps = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const y = { ...batch.y, data: batch.y.data.slice() };
      await kernels.backward({ ...batch, y });
      await kernels.update(update);
    }
    return process.memoryUsage().rss;
  };

  const before = await steps(200);
  const grown = (await steps(1000)) - before;
  await kernels.close();

  assert.ok(grown < 40 * 2 ** 20, `${(grown / 2 ** 20).toFixed(0)} MiB more after 1000 steps`);
});
