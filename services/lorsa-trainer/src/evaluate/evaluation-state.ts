import { canonicalJson, dataLoss, type Json } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import {
  type CrossEntropySums,
  emptyCrossEntropies,
  emptyReconstructionSums,
  type ReconstructionSums,
} from '@heddle/interp/evaluation';
import { type Tensor, tensor } from '@heddle/tensor';

/** First every token is measured, then some sequences run through the host. */
export type Phase = 'measure' | 'downstream';

export interface EvaluationSizes {
  readonly d_model: number;
  readonly features: number;
  readonly kCount: number;
  readonly baseline: boolean;
}

/** How far an evaluation is, at the end of a shard. */
export interface EvaluationState {
  readonly phase: Phase;
  /** Shards and sequences done in this phase. */
  readonly shards: number;
  readonly sequences: number;
  /** What squares are summed about, `[d_model]`. */
  readonly centre: Float64Array;
  readonly lorsa: ReconstructionSums;
  readonly sae: ReconstructionSums | undefined;
  readonly downstream: CrossEntropySums;
}

/** Rows of the table that have cross-entropies. */
const replacedBy = (baseline: boolean): readonly string[] => [
  'original',
  'zero',
  'mean',
  'lorsa',
  ...(baseline ? ['sae'] : []),
];

export function initialEvaluation(sizes: EvaluationSizes, centre: Float64Array): EvaluationState {
  const { baseline } = sizes;
  return {
    phase: 'measure',
    shards: 0,
    sequences: 0,
    centre,
    lorsa: emptyReconstructionSums(sizes),
    sae: baseline ? emptyReconstructionSums(sizes) : undefined,
    downstream: emptyCrossEntropies(replacedBy(baseline)),
  };
}

const FORMAT = 'heddle.lorsa.evaluation/1';

/** Every array of a state by name. */
function arraysOf(state: EvaluationState): Readonly<Record<string, Float64Array>> {
  const { centre, downstream, lorsa, sae } = state;
  const all: Record<string, Float64Array> = { centre, predictions: downstream.predictions };
  for (const [name, losses] of Object.entries(downstream.losses)) all[`loss.${name}`] = losses;
  for (const [subject, sums] of Object.entries({ lorsa, sae })) {
    if (!sums) continue;
    const { tokens, square, total, fired, ...perK } = sums;
    for (const [name, data] of Object.entries({ tokens, square, total, fired })) {
      all[`${subject}.${name}`] = data;
    }
    for (const [name, list] of Object.entries(perK)) {
      for (const [j, data] of list.entries()) all[`${subject}.${name}.${j}`] = data;
    }
  }
  return all;
}

/** One blob; its size depends on the layer and the K's, not on the length of the text. `of`: digest of what is evaluated. */
export function encodeEvaluation(state: EvaluationState, of: string): Uint8Array {
  const { phase, shards, sequences } = state;
  const tensors = Object.entries(arraysOf(state)).map(([name, data]) => {
    return [name, tensor('f64', [data.length], data)] as const;
  });
  const metadata = { format: FORMAT, state: canonicalJson({ phase, shards, sequences, of }) };
  return writeSafetensors(Object.fromEntries(tensors), metadata);
}

/** Reads what `encodeEvaluation` wrote. Errors: `data_loss` for anything else, and for another evaluation's. */
export function decodeEvaluation(
  bytes: Uint8Array,
  sizes: EvaluationSizes,
  of: string,
): EvaluationState {
  try {
    const file = readSafetensors('checkpoint', bytes);
    const { metadata } = file.header;
    if (metadata.get('format') !== FORMAT) throw new TypeError(`format ${metadata.get('format')}`);
    const header = JSON.parse(metadata.get('state') ?? '') as Readonly<Record<string, Json>>;
    if (header['of'] !== of) throw new TypeError('it is of another evaluation, or of other text');
    const state = initialEvaluation(sizes, new Float64Array(sizes.d_model));
    for (const [name, data] of Object.entries(arraysOf(state))) {
      data.set((file.tensor(name) as Tensor<'f64'>).data);
    }
    const { phase, shards, sequences } = header as unknown as EvaluationState;
    return { ...state, phase, shards, sequences };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'damaged';
    throw dataLoss(`the checkpoint of the evaluation cannot be used: ${why}`, { cause });
  }
}
