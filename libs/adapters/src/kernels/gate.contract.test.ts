import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Rng } from '@heddle/core';
import { referenceKernels } from '@heddle/interp/lorsa';
import type { SparseChoice, SparseGate, SparseKernels, SparseSizes } from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import { WasmKernels } from './index.ts';
import { CASES, type KernelCase, sizesOf } from './kernel-cases.ts';

const opened: SparseKernels[] = [];
after(() => Promise.all(opened.map((kernels) => kernels.close())));

async function open(sizes: SparseSizes, threads = 1): Promise<SparseKernels> {
  const kernels = await new WasmKernels({ threads }).open(sizes);
  opened.push(kernels);
  return kernels;
}

/** Reads, biases and norms in quarters and powers of two: ranks are exact in both, and ties are everywhere. */
async function loadQuarters(rng: Rng, of: KernelCase, all: readonly SparseKernels[]) {
  const { n_ov_heads, d_model, batch, pos } = of;
  const quarters = Float32Array.from({ length: n_ov_heads * batch * pos }, () => rng.below(17) - 8);
  const biases = Float32Array.from({ length: n_ov_heads }, () => rng.below(3) / 4);
  const norms = Float32Array.from({ length: n_ov_heads }, () => 2 ** (rng.below(3) - 1));
  for (const kernels of all) {
    kernels.reads(batch, pos).data.set(quarters.map((quarter) => quarter / 4));
    kernels.state['b_V']?.data.set(biases);
    norms.forEach((norm, i) => {
      (kernels.state['W_O']?.data ?? [])[i * d_model] = norm;
    });
    await kernels.measureNorms();
  }
}

function same(actual: SparseChoice, expected: SparseChoice): void {
  for (const list of ['active', 'auxiliary'] as const) {
    const [a, e] = [actual[list], expected[list]];
    assert.equal(a === undefined, e === undefined, list);
    if (!a || !e) continue;
    assert.deepEqual(a.indices.shape, e.indices.shape);
    assert.deepEqual(Array.from(a.values.data), Array.from(e.values.data), `${list}: z`);
    a.values.data.forEach((z, at) => {
      if (z !== 0) assert.equal(a.indices.data[at], e.indices.data[at], `${list}: place ${at}`);
    });
  }
}

const MORE: Readonly<Record<string, KernelCase>> = {
  'many heads in one group, K large': {
    ...{ d_model: 4, n_ov_heads: 1000, n_qk_heads: 1, batch: 1, pos: 20, slots: 150, auxSlots: 90 },
  },
  'groups that four does not divide, K far below the heads': {
    ...{ d_model: 4, n_ov_heads: 330, n_qk_heads: 3, batch: 1, pos: 25, slots: 6, signed: true },
  },
  'one head a group': { d_model: 4, n_ov_heads: 40, n_qk_heads: 40, batch: 2, pos: 6, slots: 7 },
  'few positive ranks': { d_model: 4, n_ov_heads: 9, n_qk_heads: 3, batch: 1, pos: 30, slots: 9 },
};

for (const [name, of] of Object.entries<KernelCase>({ ...CASES, ...MORE })) {
  test(`${name}: the winners are those of the slow twin, ties to the lower index`, async () => {
    const rng = new Rng(21);
    const sizes = sizesOf(of);
    for (const decoderNormInGate of [true, false]) {
      const weighed = { ...sizes, config: { ...sizes.config, decoderNormInGate } };
      const [fast, slow] = [await open(weighed, 2), referenceKernels(weighed)];
      await loadQuarters(rng, of, [fast, slow]);
      const dead = Float32Array.from({ length: of.n_ov_heads }, () => rng.below(2));
      for (const winners of [of.slots, 1, of.slots + 1].filter((k) => k <= of.n_ov_heads)) {
        const auxiliary = of.auxSlots ? { dead, topK: of.auxSlots } : undefined;
        const gate: SparseGate = { batch: of.batch, pos: of.pos, winners, auxiliary };

        same(await fast.gate(gate), await slow.gate(gate));
      }
      const told = Int32Array.from(
        { length: of.batch * of.pos * 2 },
        () => rng.below(of.n_ov_heads + 1) - 1, // -1: nobody
      );
      const winners = tensor('i32', [of.batch * of.pos, 2], told);
      if (of.slots < 2) continue;
      const replayed = { batch: of.batch, pos: of.pos, winners };
      same(await fast.gate(replayed), await slow.gate(replayed));
    }
  });
}

test('a NaN among the ranks comes out as an activation and as the loss, wherever it stands', async () => {
  const of: KernelCase = { d_model: 4, n_ov_heads: 22, n_qk_heads: 2, batch: 1, pos: 11, slots: 3 };
  const kernels = await open(sizesOf(of));
  await loadQuarters(new Rng(1), of, [kernels]);
  const reads = kernels.reads(1, 11);
  for (let t = 0; t < 11; t++) reads.data[t * 11 + t] = Number.NaN; // head t of token t

  const { active } = await kernels.gate({ batch: 1, pos: 11, winners: 3 });

  for (let t = 0; t < 11; t++) assert.ok(Number.isNaN(active.values.data[t * 3]), `token ${t}`);
  const y = tensor('f32', [1, 11, 4], new Float32Array(44));
  const valid = tensor('f32', [1, 11], new Float32Array(11).fill(1));
  const { loss } = await kernels.backward({ batch: 1, pos: 11, y, valid, active });
  assert.ok(Number.isNaN(loss));
});
