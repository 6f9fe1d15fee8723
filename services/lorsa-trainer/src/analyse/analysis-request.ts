import { canonicalJson, invalidArgument, type Json } from '@heddle/core';
import type { StartAnalysisRequest } from '@heddle/ports/proto/lorsa';
import { digestOf } from '../programs.ts';
import { checkedData, type DataRequest } from '../train-request.ts';
import { SAMPLES, SAMPLES_MAX } from './limits.ts';

/** An analysis as it was asked for, in JSON, every default filled in. */
export type AnalysisRequest = {
  readonly checkpoint: string;
  /** Of the checkpoint when it was asked: a file that changes is another question. */
  readonly checkpoint_digest: string;
  /** '' is the checkpoint's own host. */
  readonly model: string;
  readonly data: DataRequest;
  readonly samples: number;
  readonly quantile_samples: number;
  readonly baseline: boolean;
  readonly seed: number;
};

/** Errors: `invalid_argument` naming the field and the limit. */
export function checkedAnalysis(
  request: StartAnalysisRequest,
  checkpoint_digest: string,
): AnalysisRequest {
  const { checkpoint, model, seed } = request;
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw invalidArgument(`seed is ${seed}; a whole number from 0 is expected`, { field: 'seed' });
  }
  return {
    checkpoint,
    checkpoint_digest,
    model,
    data: checkedData(request.data),
    samples: samplesOf(request.samples, 'samples'),
    quantile_samples: samplesOf(request.quantile_samples, 'quantile_samples'),
    baseline: request.baseline,
    seed,
  };
}

function samplesOf(value: number, field: string): number {
  if (value > SAMPLES_MAX) {
    throw invalidArgument(`${field} is ${value}; at most ${SAMPLES_MAX} are kept per head`, {
      field,
      details: { limit: SAMPLES_MAX },
    });
  }
  return value === 0 ? SAMPLES : value;
}

/** The request as the JSON that the job runtime stores. */
export const asJson = (request: AnalysisRequest): Json => request as unknown as Json;

/** The same question in the same words; a corpus may have other content by now, which only its job finds out. */
export const sameQuestion = (a: Json, b: AnalysisRequest): boolean =>
  canonicalJson(a) === canonicalJson(asJson(b));

/** What identifies the findings: whatever gives the same ones has the same. */
export function contentOf(
  request: Omit<AnalysisRequest, 'checkpoint' | 'data' | 'model'>,
  data: { readonly model_digest: string; readonly data_digest: string; readonly baseline: string },
): string {
  const { checkpoint_digest, samples, quantile_samples, seed } = request;
  return digestOf(
    canonicalJson({ format: 1, checkpoint_digest, samples, quantile_samples, seed, ...data }),
  );
}
