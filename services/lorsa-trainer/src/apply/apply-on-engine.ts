import { createHash } from 'node:crypto';
import { assert } from '@heddle/core';
import {
  applyFactors,
  applyGate,
  encodedEncoding,
  encodingFeeds,
  groupSize,
  type LorsaApplied,
  type LorsaConfig,
  type LorsaLayer,
  mapWeights,
} from '@heddle/interp/lorsa';
import type { Engine, Outputs, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { APPLY_BLOCK_BYTES, APPLY_BLOCK_WORK, APPLY_GATE_ELEMENTS } from './limits.ts';

export interface OnEngine {
  readonly engine: Pick<Engine, 'run'>;
  readonly signal: AbortSignal;
  /** Between pieces of work on this thread. */
  readonly breathe: () => Promise<void>;
  /** Shared heads in one run at most, below what fits. */
  readonly headsMax?: number | undefined;
}

export interface Wanted {
  readonly pattern: boolean;
  readonly values: boolean;
}

/**
 * `applyLorsa` with the encoding on the engine, in double: the same numbers but for the order of summation (1e-15), so the
 * same winners. A few shared heads at a time, so that memory and the time between two looks at the signal are bounded
 * whatever the layer; the gate stays on this thread, some rows at a time. Tensors that are not wanted are empty.
 *
 *   x, y   [batch, pos, d_model]
 */
export async function applyOnEngine(
  on: OnEngine,
  layer: LorsaLayer,
  { x, y, wanted }: { x: Tensor<'f64'>; y: Tensor<'f64'> | undefined; wanted: Wanted },
): Promise<LorsaApplied> {
  const { config } = layer;
  const [batch = 0, pos = 0, d_model = 0] = x.shape;
  const { n_ov_heads, n_qk_heads } = config;
  const factors = applyFactors(layer, x, y);
  const scaled = x.data.map((value, at) => value * (factors.input[Math.floor(at / d_model)] ?? 0));
  const pre = new Float64Array(batch * pos * n_ov_heads);
  const values = new Float64Array(wanted.values ? pre.length : 0);
  const pattern = new Float64Array(wanted.pattern ? batch * n_qk_heads * pos * pos : 0);
  const heads = Math.min(headsAtOnce(config, batch, pos), on.headsMax ?? n_qk_heads);
  for (let from = 0; from < n_qk_heads; from += heads) {
    const block = headBlock(layer, from, Math.min(from + heads, n_qk_heads));
    const program = encodingProgram(block.config, wanted);
    const feeds = { ...encodingFeeds(block, pos), x: tensor('f64', x.shape, scaled) };
    const plan = { steps: [{ program, feeds, keep: keptOf(wanted) }] };
    const [outputs = {}] = await on.engine.run(plan, { signal: on.signal });
    const own = block.config.n_ov_heads;
    const column = from * groupSize(config);
    putColumns(pre, doubles(outputs, 'pre'), { width: n_ov_heads, column, own });
    if (wanted.values) {
      putColumns(values, doubles(outputs, 'values'), { width: n_ov_heads, column, own });
    }
    if (wanted.pattern) {
      const square = pos * pos;
      const columns = { width: n_qk_heads * square, column: from * square };
      const found = doubles(outputs, 'pattern');
      putColumns(pattern, found, { ...columns, own: block.config.n_qk_heads * square });
    }
  }
  const { z, reconstruction } = await gated(on, layer, pre, factors.output);
  return {
    featureActs: tensor('f64', [batch, pos, n_ov_heads], z),
    reconstruction: tensor('f64', [batch, pos, d_model], reconstruction),
    pattern: tensor('f64', wanted.pattern ? [batch, n_qk_heads, pos, pos] : [0], pattern),
    values: tensor('f64', wanted.values ? [batch, pos, n_ov_heads] : [0], values),
  };
}

function encodingProgram(config: LorsaConfig, wanted: Wanted): Program {
  const bytes = encodedEncoding(config, wanted);
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { digest, bytes, weightsDirectory: undefined, residentBytes: 0 };
}

const keptOf = ({ pattern, values }: Wanted): string[] => [
  'pre',
  ...(pattern ? ['pattern'] : []),
  ...(values ? ['values'] : []),
];

/** Shared heads in one run: what memory and the time between two looks at the signal allow. */
export function headsAtOnce(config: LorsaConfig, batch: number, pos: number): number {
  const { d_model, d_qk_head, n_qk_heads } = config;
  const group = groupSize(config);
  const parameters = d_model * (2 * d_qk_head + group);
  // Scores, mask and softmax; queries, keys, values and what is mixed of them; parameters as fed and in double.
  const perSequence = 8 * (3 * pos * pos + 2 * pos * (2 * d_qk_head + 2 * group));
  const bytes = batch * perSequence + 12 * parameters;
  const work = batch * (pos * parameters + pos * pos * (d_qk_head + group));
  const fit = Math.floor(Math.min(APPLY_BLOCK_BYTES / bytes, APPLY_BLOCK_WORK / work));
  return Math.min(n_qk_heads, Math.max(1, fit));
}

/** Shared heads `from` to `to` and their rank-one heads as a layer of their own: rows of the first axes, not copied. */
function headBlock(
  { config, weights }: LorsaLayer,
  from: number,
  to: number,
): Pick<LorsaLayer, 'config' | 'weights'> {
  const group = groupSize(config);
  const n_qk_heads = to - from;
  const rows = (t: Tensor<'f32' | 'f64'>, first: number, count: number) => {
    const width = t.data.length / (t.shape[0] ?? 1);
    const data = t.data.subarray(first * width, (first + count) * width);
    return { ...t, shape: [count, ...t.shape.slice(1)], data } as typeof t;
  };
  return {
    // The encoding ends before the gate: K only has to be one that the block can have.
    config: { ...config, n_qk_heads, n_ov_heads: n_qk_heads * group, topK: 1, activation: 'topk' },
    weights: mapWeights(weights, (t, name) => {
      if (name === 'b_D') return t;
      const perRankOneHead = name === 'W_V' || name === 'b_V' || name === 'W_O';
      if (perRankOneHead || name === 'logThreshold')
        return rows(t, from * group, n_qk_heads * group);
      return rows(t, from, n_qk_heads);
    }),
  };
}

interface Columns {
  readonly width: number;
  readonly column: number;
  readonly own: number;
}

/** Puts rows of `own` numbers into the columns from `column` of a matrix that is `width` wide. */
function putColumns(into: Float64Array, from: Float64Array, columns: Columns): void {
  const { width, column, own } = columns;
  for (let row = 0; row * own < from.length; row++) {
    into.set(from.subarray(row * own, (row + 1) * own), row * width + column);
  }
}

function doubles(outputs: Outputs, name: string): Float64Array {
  const t = outputs[name];
  assert(t?.dtype === 'f64', () => `the engine gave no ${name} in double`);
  return t.data as Float64Array;
}

/** The gate and what is written, some rows at a time where rows are independent. */
async function gated(
  { breathe }: OnEngine,
  layer: LorsaLayer,
  pre: Float64Array,
  outputFactors: Float64Array,
): Promise<{ readonly z: Float64Array; readonly reconstruction: Float64Array }> {
  const { n_ov_heads, d_model, activation } = layer.config;
  await breathe();
  const tokens = outputFactors.length;
  if (activation === 'batchtopk') return applyGate(layer, pre, outputFactors);
  const z = new Float64Array(pre.length);
  const reconstruction = new Float64Array(tokens * d_model);
  const rows = Math.max(1, Math.floor(APPLY_GATE_ELEMENTS / n_ov_heads));
  for (let from = 0; from < tokens; from += rows) {
    await breathe();
    const to = Math.min(from + rows, tokens);
    const some = pre.subarray(from * n_ov_heads, to * n_ov_heads);
    const part = applyGate(layer, some, outputFactors.subarray(from, to));
    z.set(part.z, from * n_ov_heads);
    reconstruction.set(part.reconstruction, from * d_model);
  }
  return { z, reconstruction };
}
