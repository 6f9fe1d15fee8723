import { assert, type Rng } from '@heddle/core';
import { type LorsaConfig, parameterNames } from '@heddle/interp/lorsa';
import type { SparseBatch, SparseKernels, SparseSizes, SparseUpdate } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';

/** Shapes and random steps that the tests of the kernels share. */

export interface KernelCase {
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

export const CASES = {
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
} satisfies Readonly<Record<string, KernelCase>>;

function configOf(of: KernelCase): LorsaConfig {
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

export const sizesOf = (of: KernelCase, keepsGradients = true): SparseSizes => ({
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
function drawPairs(rng: Rng, of: KernelCase, slots: number) {
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

export function drawBatch(rng: Rng, of: KernelCase): SparseBatch {
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
export async function loadAll(
  rng: Rng,
  of: KernelCase,
  all: readonly SparseKernels[],
): Promise<void> {
  const [first, ...others] = all;
  assert(first, 'no kernels to load');
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

export function drawUpdate(rng: Rng, kernels: SparseKernels, clipNorm: number): SparseUpdate {
  const dense = Object.entries(kernels.state)
    .filter(([name]) => /^(W_[QK]|b_[QK]|ln_[qk])$/.test(name))
    .map(([name, { shape }]) => [name, normal(rng, ...shape)] as const);
  const adam = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, correction1: 0.271, correction2: 0.0297 };
  return { rate: 0.01, ...adam, clipNorm, dense: Object.fromEntries(dense) };
}

export const stateNames = (of: KernelCase): string[] =>
  parameterNames(configOf(of)).flatMap((name) => [name, `adam_m.${name}`, `adam_v.${name}`]);
