import type { Estimate } from '@heddle/actor';
import { type Json, Rng, resourceExhausted } from '@heddle/core';
import { TWIN_RATE } from '@heddle/interp/host';
import {
  type ContrastFit,
  type ContrastSample,
  contrastiveCovariance,
  rankAboveNull,
  SAMPLE_BYTES_MAX,
  shuffledNull,
  type Weighting,
} from '@heddle/interp/qk';
import type { Matrix } from '@heddle/linalg';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import { type Tensor, tensor } from '@heddle/tensor';
import type { FitRequest } from './fit-request.ts';
import { CAPTURE_RATE, FITS_SHOWN, NULL_SEED, SINGULAR_VALUES_SHOWN } from './limits.ts';

export interface HeadFit {
  readonly feature: string;
  readonly layer: number;
  readonly head: number;
  readonly fit: ContrastFit;
  /** Lines of the contrast file behind it. */
  readonly contrasts: number;
  /** Singular values above the null of shuffled labels; null where no null was made. */
  readonly rankAboveNull: number | null;
}

const vectorCount = ({ contrasts }: FitRequest): number =>
  contrasts.reduce((sum, { positive, negative }) => sum + 1 + positive.length + negative.length, 0);

/** Bytes of the queries and keys, and time for them to be captured and for the covariances of all heads. */
export function estimateFit(
  request: FitRequest,
  headCount: number,
  { d_head, parameters }: Pick<ModelInfo, 'd_head' | 'parameters'>,
): Estimate {
  const vectors = vectorCount(request) * headCount;
  const read = request.contrasts.reduce((sum, { query }) => sum + query + 1, 0);
  return {
    bytes: vectors * d_head * Float64Array.BYTES_PER_ELEMENT,
    seconds: (read * parameters) / CAPTURE_RATE + (vectors * d_head * d_head) / TWIN_RATE,
  };
}

/** Refuses what would not fit into memory before anything is captured. */
export function checkSampleBytes(request: FitRequest, headCount: number, d_head: number): void {
  const { bytes } = estimateFit(request, headCount, { d_head, parameters: 0 });
  if (bytes <= SAMPLE_BYTES_MAX) return;
  throw resourceExhausted(
    `the fit would hold ${bytes} bytes of queries and keys for ${headCount} heads; at most ${SAMPLE_BYTES_MAX}: name fewer heads or contrasts`,
    { field: 'heads', retryable: false, details: { limit: SAMPLE_BYTES_MAX, estimate: bytes } },
  );
}

export function fitHead(
  place: Pick<HeadFit, 'feature' | 'layer' | 'head'>,
  samples: readonly ContrastSample[],
  weighting: Weighting,
  withNull: boolean,
): HeadFit {
  const fit = contrastiveCovariance(samples, { weighting });
  const above = withNull
    ? rankAboveNull(fit.svd.S, shuffledNull(samples, new Rng(NULL_SEED), { weighting }))
    : null;
  return { ...place, fit, contrasts: samples.length, rankAboveNull: above };
}

/** The file's tensors, named as `heddle qk fit --out` promises. */
export function fitTensors(fits: readonly HeadFit[]): Record<string, Tensor> {
  const square = ({ rows, cols, data }: Matrix) => tensor('f64', [rows, cols], data);
  const tensors: Record<string, Tensor> = {};
  for (const { feature, layer, head, fit } of fits) {
    const at = (name: string) => `${feature}/${name}.${layer}.${head}`;
    tensors[at('C_plus')] = square(fit.C_plus);
    tensors[at('C_minus')] = square(fit.C_minus);
    tensors[at('Delta_C')] = square(fit.Delta_C);
    tensors[at('singular_values')] = tensor('f64', [fit.svd.S.length], fit.svd.S);
  }
  return tensors;
}

/** The fits in lines, largest singular value first. */
export function fitSummary(fits: readonly HeadFit[]): Json[] {
  return fits
    .toSorted((a, b) => (b.fit.svd.S[0] ?? 0) - (a.fit.svd.S[0] ?? 0))
    .slice(0, FITS_SHOWN)
    .map(({ feature, layer, head, fit, contrasts, rankAboveNull: above }) => ({
      feature,
      head: `${layer}.${head}`,
      rank: fit.rank,
      rank_above_null: above,
      singular_values: [...fit.svd.S.slice(0, SINGULAR_VALUES_SHOWN)],
      contrasts,
      positive_pairs: fit.positivePairs,
      negative_pairs: fit.negativePairs,
    }));
}
