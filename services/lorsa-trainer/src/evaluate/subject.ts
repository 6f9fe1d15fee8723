import { assert } from '@heddle/core';
import {
  addMeasures,
  type EvaluationBatch,
  emptyReconstructionSums,
  encodedLorsaEvaluation,
  encodedSaeEvaluation,
  evaluationConstants,
  evaluationFeeds,
  type ReconstructionSums,
} from '@heddle/interp/evaluation';
import type { LorsaLayer } from '@heddle/interp/lorsa';
import type { SaeLayer } from '@heddle/interp/sae';
import type { Engine, Outputs, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { programOf } from '../programs.ts';
import { MEASURE_ENTRIES } from './limits.ts';

/** Something that reconstructs the layer's output, as the engine runs it. */
export interface Subject {
  readonly name: 'lorsa' | 'sae';
  readonly program: Program;
  readonly d_model: number;
  readonly features: number;
  /** Its own K first. */
  readonly topK: readonly number[];
  feeds(batch: EvaluationBatch): Readonly<Record<string, Tensor>>;
}

/** `centre`: near the mean of y, see `measureGraph`. */
export function lorsaSubject(
  layer: LorsaLayer,
  topK: readonly number[],
  centre: ArrayLike<number>,
): Subject {
  const constants = evaluationConstants(layer, centre);
  return {
    name: 'lorsa',
    program: programOf(encodedLorsaEvaluation(layer.config, topK.length)),
    d_model: layer.config.d_model,
    features: layer.config.n_ov_heads,
    topK,
    feeds: (batch) => ({ ...constants, ...evaluationFeeds(layer, batch, topK) }),
  };
}

export function saeSubject(
  { config, weights }: SaeLayer,
  topK: readonly number[],
  centre: ArrayLike<number>,
): Subject {
  const ks = topK.map((k, j) => {
    const name = j === 0 ? 'k' : `k_${j}`;
    return [name, tensor('i64', [1], BigInt64Array.of(BigInt(k)))] as const;
  });
  const fixed = {
    ...weights,
    ...Object.fromEntries(ks),
    centre: tensor('f32', [centre.length], Float32Array.from(centre)),
  };
  return {
    name: 'sae',
    program: programOf(encodedSaeEvaluation(config, topK.length)),
    d_model: config.d_model,
    features: config.d_sae,
    topK,
    feeds: ({ y, valid }) => ({
      ...fixed,
      y,
      valid: tensor('f32', valid.shape, Float32Array.from(valid.data)),
    }),
  };
}

export const emptySums = ({ d_model, features, topK }: Subject): ReconstructionSums =>
  emptyReconstructionSums({ d_model, features, kCount: topK.length });

/** Sequences that one run of this subject may hold: its pre-activations and one active set per K. */
export function sequencesAtOnce({ features, topK }: Subject, pos: number): number {
  return Math.max(1, Math.floor(MEASURE_ENTRIES / (pos * features * (2 + topK.length))));
}

/** Whole sequences with the documents that they are cut from. */
export interface MeasuredBatch extends EvaluationBatch {
  readonly documents: readonly bigint[];
}

/** Some sequences of a batch, by index. */
export function chosen(batch: MeasuredBatch, rows: readonly number[]): MeasuredBatch {
  const pick = <D extends 'f32' | 'u8'>(t: Tensor<D>): Tensor<D> => {
    const [, ...rest] = t.shape;
    const size = rest.reduce((a, b) => a * b, 1);
    const from = t.data as Float32Array;
    const data =
      t.dtype === 'u8' ? new Uint8Array(rows.length * size) : new Float32Array(rows.length * size);
    rows.forEach((row, to) => {
      data.set(from.subarray(row * size, (row + 1) * size), to * size);
    });
    return { dtype: t.dtype, shape: [rows.length, ...rest], data } as unknown as Tensor<D>;
  };
  return {
    x: pick(batch.x),
    y: pick(batch.y),
    valid: pick(batch.valid),
    lengths: rows.map((row) => batch.lengths[row] ?? 0),
    documents: rows.map((row) => batch.documents[row] ?? 0n),
  };
}

/** Indices from 0 in pieces of at most `size`. */
function* pieces(count: number, size: number): Generator<readonly number[]> {
  for (let from = 0; from < count; from += size) {
    yield Array.from({ length: Math.min(size, count - from) }, (_, i) => from + i);
  }
}

/** Adds a batch to a subject's sums, in place; `between` runs between pieces. Errors: those of the engine. */
export async function measure(
  engine: Engine,
  subject: Subject,
  batch: MeasuredBatch,
  into: ReconstructionSums,
  options: { readonly signal: AbortSignal; readonly between: () => Promise<void> },
): Promise<void> {
  const [count = 0, pos = 0] = batch.y.shape;
  const keep = ['tokens', 'square', 'total', 'fired'];
  for (const j of subject.topK.keys()) keep.push(`error_${j}`, `relative_${j}`, `active_${j}`);
  for (const rows of pieces(count, sequencesAtOnce(subject, pos))) {
    const part = chosen(batch, rows);
    const step = { program: subject.program, feeds: subject.feeds(part), keep };
    const [outputs = {}] = await engine.run({ steps: [step] }, { signal: options.signal });
    addMeasures(into, part.documents, (name) => floats(outputs, name));
    await options.between();
  }
}

/** ŷ of a batch in the host's units, `[batch, pos, d_model]`, at the subject's own K. */
export async function reconstruct(
  engine: Engine,
  subject: Subject,
  batch: MeasuredBatch,
  signal: AbortSignal,
): Promise<Float32Array> {
  const [count = 0, pos = 0] = batch.y.shape;
  const all = new Float32Array(batch.y.data.length);
  for (const rows of pieces(count, sequencesAtOnce(subject, pos))) {
    const feeds = subject.feeds(chosen(batch, rows));
    const step = { program: subject.program, feeds, keep: ['reconstruction'] };
    const [outputs = {}] = await engine.run({ steps: [step] }, { signal });
    all.set(floats(outputs, 'reconstruction'), (rows[0] ?? 0) * pos * subject.d_model);
  }
  return all;
}

function floats(outputs: Outputs, name: string): Float32Array {
  const t = outputs[name];
  assert(t?.dtype === 'f32', () => `the engine gave no ${name}`);
  return t.data as Float32Array;
}
