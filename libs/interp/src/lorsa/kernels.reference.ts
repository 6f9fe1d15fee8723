import { assert } from '@heddle/core';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import { CLIP_EPSILON } from './adam.ts';
import { groupSize, type LorsaConfig } from './lorsa-config.ts';
import { type LorsaParameter, parameterNames, parameterShape } from './lorsa-weights.ts';
import { eachPair, sumOfSquares, type Weighted } from './pairs.reference.ts';
import type {
  SparseBatch,
  SparseChoice,
  SparseGate,
  SparseKernels,
  SparsePairs,
  SparseSizes,
  SparseUpdate,
} from './sparse-kernels.ts';
import { stateFeeds } from './state-feeds.ts';

const ROW_PARAMETERS: readonly LorsaParameter[] = ['W_V', 'b_V', 'W_O', 'b_D'];

/** Single precision, or double behind the same type, so that laws can compare to 1e-9. */
type Numbers = Float32Array | Float64Array;

type Gradients = Record<string, Float64Array>;

/**
 * The slow twin of the kernels, straight from the formulas of `SparseKernels`: what the fast ones are compared with.
 * Sums are fp64; what is kept has the precision asked for.
 */
export function referenceKernels(
  sizes: SparseSizes,
  precision: 'f32' | 'f64' = 'f32',
): SparseKernels {
  const { config, tokensMax } = sizes;
  const make = (shape: readonly number[]): Tensor<'f32'> => {
    const count = elementCount(shape);
    const data = precision === 'f32' ? new Float32Array(count) : new Float64Array(count);
    return { dtype: precision, shape, data } as unknown as Tensor<'f32'>;
  };
  const names = parameterNames(config);
  const state = Object.fromEntries(
    names.flatMap((name) =>
      Object.values(stateFeeds(name)).map((feed) => [feed, make(parameterShape(config, name))]),
    ),
  );
  const decoderNorms = make([config.n_ov_heads]);
  const wide = [config.n_qk_heads, tokensMax, config.d_model];
  const memory = { mixed: make(wide), cotangent: make(wide) };
  const reads = make([config.n_ov_heads * tokensMax]);
  const view = (of: Tensor<'f32'>, batch: number, pos: number): Tensor<'f32'> => {
    assert(batch * pos <= tokensMax, () => `${batch} · ${pos} tokens are more than ${tokensMax}`);
    const shape = [config.n_qk_heads, batch, pos, config.d_model];
    return { ...of, shape, data: of.data.subarray(0, elementCount(shape)) };
  };
  const measureNorms = () => {
    const { d_model } = config;
    decoderNorms.data.forEach((_, i) => {
      decoderNorms.data[i] = Math.sqrt(
        sumOfSquares(state['W_O'].data.subarray(i * d_model, (i + 1) * d_model)),
      );
    });
  };
  let rows: Gradients | undefined;
  return {
    state,
    decoderNorms,
    mixed: (batch, pos) => view(memory.mixed, batch, pos),
    cotangent: (batch, pos) => view(memory.cotangent, batch, pos),
    reads: (batch, pos) => {
      const shape = [config.n_qk_heads, batch * pos, groupSize(config)];
      return { ...reads, shape, data: reads.data.subarray(0, elementCount(shape)) };
    },
    gate: async (gate) => {
      const gains = config.decoderNormInGate ? decoderNorms.data : undefined;
      return choose(config, { reads: reads.data, b_V: state['b_V'].data, gains }, gate);
    },
    measureNorms: async () => measureNorms(),
    backward: async (batch) => {
      const U = view(memory.cotangent, batch.batch, batch.pos).data;
      const Y = view(memory.mixed, batch.batch, batch.pos).data;
      const { gradients, sums } = backward(config, { state, Y, U }, batch);
      rows = gradients;
      return sums;
    },
    rowGradients: async () => {
      assert(rows, 'no gradients before the first backward');
      return Object.fromEntries(
        Object.entries(rows).map(([name, data]) => {
          const shape = parameterShape(config, name as LorsaParameter);
          return [name, tensor('f32', shape, Float32Array.from(data))];
        }),
      );
    },
    update: async (update) => {
      assert(rows, 'no gradients before the first backward');
      const gradientNorm = step(names, state, rows, update);
      measureNorms();
      return { gradientNorm };
    },
    close: async () => {},
  };
}

interface Memory {
  readonly state: Readonly<Record<string, Tensor<'f32'>>>;
  readonly Y: Numbers;
  readonly U: Numbers;
}

interface Ranked {
  readonly reads: Numbers;
  readonly b_V: Numbers;
  readonly gains: Numbers | undefined;
}

function choose(config: LorsaConfig, of: Ranked, gate: SparseGate): SparseChoice {
  const { winners, auxiliary } = gate;
  const tokens = gate.batch * gate.pos;
  const group = groupSize(config);
  const z = (t: number, head: number): number =>
    of.reads[(Math.floor(head / group) * tokens + t) * group + (head % group)] + of.b_V[head];
  const rank = (t: number, head: number): number => {
    const value = config.signed ? Math.abs(z(t, head)) : z(t, head);
    return value * (of.gains?.[head] ?? 1);
  };
  const heads = Array.from({ length: config.n_ov_heads }, (_, head) => head);
  const strongest = (topK: number, among: (head: number) => boolean): SparsePairs =>
    pairsOf(tokens, topK, (t) =>
      heads
        .filter((head) => among(head) && rank(t, head) > 0)
        .sort((a, b) => rank(t, b) - rank(t, a) || a - b)
        .slice(0, topK)
        .map((head) => ({ head, z: z(t, head) })),
    );
  const told = (indices: Tensor<'i32'>): SparsePairs => {
    const [, slots] = indices.shape;
    return pairsOf(tokens, slots, (t) =>
      Array.from(indices.data.subarray(t * slots, (t + 1) * slots), (head) => {
        return { head, z: head >= 0 && rank(t, head) > 0 ? z(t, head) : 0 };
      }),
    );
  };
  const active = typeof winners === 'number' ? strongest(winners, () => true) : told(winners);
  if (!auxiliary) return { active };
  const { dead, topK } = auxiliary;
  return { active, auxiliary: strongest(topK, (head) => dead[head] > 0) };
}

/** Rows of pairs as tensors; places that are left over are no pairs. z in double, so that fp64 laws hold. */
function pairsOf(
  tokens: number,
  slots: number,
  row: (token: number) => readonly { readonly head: number; readonly z: number }[],
): SparsePairs {
  const indices = new Int32Array(tokens * slots).fill(-1);
  const values = new Float64Array(tokens * slots);
  for (let t = 0; t < tokens; t++) {
    row(t).forEach(({ head, z }, s) => {
      indices[t * slots + s] = head;
      values[t * slots + s] = z;
    });
  }
  const shape = [tokens, slots];
  return {
    indices: tensor('i32', shape, indices),
    values: { dtype: 'f64', shape, data: values } as unknown as Tensor<'f32'>,
  };
}

/** Sums, U and the rows' gradients of a batch. */
function backward(config: LorsaConfig, memory: Memory, batch: SparseBatch) {
  const { d_model: n } = config;
  const y = batch.y.data;
  const valid = batch.valid.data;
  const tokens = valid.reduce((sum, v) => sum + v, 0);
  const bias = memory.state['b_D']?.data ?? new Float32Array(n);
  const gradients: Gradients = Object.fromEntries(
    ROW_PARAMETERS.filter((name) => `${name}` in memory.state).map((name) => [
      name,
      new Float64Array(elementCount(parameterShape(config, name))),
    ]),
  );
  memory.U.fill(0);

  const start = Float64Array.from(y, (value, at) => bias[at % n] - value);
  const weight = Float64Array.from(valid, (v) => v / tokens);
  const main = { pairs: batch.active, start, weight, scale: 1 };
  const { error, loss } = throughPairs(config, memory, gradients, main);
  const bD = gradients['b_D'];
  error.forEach((e, at) => {
    if (bD) bD[at % n] += 2 * weight[Math.floor(at / n)] * e;
  });

  const extra = batch.auxiliary;
  // ê − (y − ŷ) = ê + e: the error is where the second sum starts, and is held fixed.
  const aux = extra && { pairs: extra.pairs, start: error, weight, scale: extra.coefficient };
  const auxiliaryLoss = aux ? throughPairs(config, memory, gradients, aux).loss : 0;

  const total = new Float64Array(n);
  const square = new Float64Array(1);
  y.forEach((value, at) => {
    const counted = valid[Math.floor(at / n)] * value;
    total[at % n] += counted;
    square[0] += counted * value;
  });
  const fired = new Float32Array(config.n_ov_heads);
  eachPair(main, (_, __, head) => fired[head]++);
  const sums = {
    loss,
    auxiliaryLoss,
    tokens,
    errorSum: loss * tokens,
    squareSum: square[0],
    activeSum: fired.reduce((a, b) => a + b, 0),
    total: Float32Array.from(total),
    fired,
  };
  return { gradients, sums };
}

/**
 * e = start + Σ z w_o, de = 2 scale weight e, dz = de·w_o, and what follows for U, dw_v, dw_o and db_V, all added to what
 * stands there.
 */
function throughPairs(config: LorsaConfig, memory: Memory, into: Gradients, of: Weighted) {
  const { d_model: n } = config;
  const { state, Y, U } = memory;
  const [W_O, W_V] = [state['W_O'].data, state['W_V'].data];
  const error = of.start.slice();
  eachPair(of, (z, t, head) => {
    for (let d = 0; d < n; d++) error[t * n + d] += z * W_O[head * n + d];
  });
  let loss = 0;
  error.forEach((e, at) => {
    loss += of.scale * of.weight[Math.floor(at / n)] * e * e;
  });
  const tokens = of.weight.length;
  const group = groupSize(config);
  eachPair(of, (z, t, head) => {
    const factor = 2 * of.scale * of.weight[t];
    let d_z = 0;
    for (let d = 0; d < n; d++) {
      const d_e = factor * error[t * n + d];
      d_z += d_e * W_O[head * n + d];
      into['W_O'][head * n + d] += z * d_e;
    }
    into['b_V'][head] += d_z;
    const row = (Math.floor(head / group) * tokens + t) * n;
    for (let d = 0; d < n; d++) {
      into['W_V'][head * n + d] += d_z * Y[row + d];
      U[row + d] += d_z * W_V[head * n + d];
    }
  });
  return { error, loss };
}

/** Adam on every parameter with the gradients clipped to the norm together. Returns the norm before that. */
function step(
  names: readonly LorsaParameter[],
  state: Readonly<Record<string, Tensor<'f32'>>>,
  rows: Gradients,
  update: SparseUpdate,
): number {
  const gradientOf = (name: LorsaParameter): ArrayLike<number> => {
    const gradient = rows[name] ?? update.dense[name]?.data;
    assert(gradient, () => `no gradient of ${name}`);
    return gradient;
  };
  const norm = Math.sqrt(names.reduce((sum, name) => sum + sumOfSquares(gradientOf(name)), 0));
  if (Number.isFinite(update.clipNorm) && !Number.isFinite(norm)) return norm;
  const factor = Math.min(1, update.clipNorm / (norm + CLIP_EPSILON));
  const { rate, beta1, beta2, epsilon, correction1, correction2 } = update;
  for (const name of names) {
    const feeds = stateFeeds(name);
    const [p, m, v] = [state[feeds.p].data, state[feeds.m].data, state[feeds.v].data];
    const gradient = gradientOf(name);
    for (let at = 0; at < p.length; at++) {
      const g = gradient[at] * factor;
      m[at] = beta1 * m[at] + (1 - beta1) * g;
      v[at] = beta2 * v[at] + (1 - beta2) * g * g;
      p[at] -= (m[at] * (rate / correction1)) / (Math.sqrt(v[at] / correction2) + epsilon);
    }
  }
  return norm;
}
