import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import { CASES, sizesOf } from './kernel-cases.ts';
import { KernelPool } from './kernel-pool.ts';
import { layoutOf } from './layout.ts';
import type { Phase } from './protocol.ts';

const PAGES = 32;
/** An address past the memory. */
const NOWHERE = 2 ** 30;

async function start(threads: number): Promise<KernelPool> {
  const layout = layoutOf(sizesOf(CASES['round numbers']), threads);
  const module = new WebAssembly.Module(
    readFileSync(new URL('./gen/kernels.wasm', import.meta.url)),
  );
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  return KernelPool.start({ module, memory, layout, threads });
}

const norms = (items: number, rows: number): Phase => ({
  ...{ kernel: 'norms', items, turn: 1 },
  integers: [4, rows, 2 ** 20],
});

for (const threads of [1, 3]) {
  test(`${threads} threads: what traps fails its call, and nothing runs on what it left`, async () => {
    const pool = await start(threads);
    await pool.run([norms(50, 2 ** 19)]);

    const broken = (error: OperationError) => {
      assert.equal(error.code, 'internal');
      return true;
    };
    await assert.rejects(pool.run([norms(50, NOWHERE)]), broken);
    await assert.rejects(pool.run([norms(50, 2 ** 19)]), broken);

    await pool.close();
  });
}

test('closing while phases run lets them finish', async () => {
  const pool = await start(2);
  const running = pool.run(Array.from({ length: 20 }, () => norms(1000, 2 ** 19)));

  const [times] = await Promise.all([running, pool.close()]);

  assert.equal(times.length, 20);
});
