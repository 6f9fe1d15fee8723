import { type PromptJson, promptJson, type TokenizeJson } from '@heddle/client';
import { invalidArgument } from '@heddle/core';
import type { Contrast, StartFitRequest } from '@heddle/ports/proto/qk';
import { CONTRASTS_MAX, FEATURE_BYTES_MAX, POSITIONS_MAX } from './limits.ts';

export type ContrastJson = {
  readonly feature: string;
  readonly prompt: PromptJson;
  readonly query: number;
  readonly positive: readonly number[];
  readonly negative: readonly number[];
};

/** A fit as it was asked for, in JSON: what the job's journal and the provenance keep. */
export type FitRequest = {
  readonly model: string;
  readonly contrasts: readonly ContrastJson[];
  /** Empty: all. */
  readonly heads: readonly { readonly layer: number; readonly head: number }[];
  readonly weighting: 'balanced' | 'paper';
  readonly options: TokenizeJson;
};

/**
 * What can be checked before the prompts are tokenised; positions against tokens are checked when
 * the job starts.
 */
export function checkedFit(request: StartFitRequest): FitRequest {
  const { contrasts } = request;
  if (contrasts.length === 0 || contrasts.length > CONTRASTS_MAX) {
    throw invalidArgument(`${contrasts.length} contrasts; 1 to ${CONTRASTS_MAX} are expected`, {
      field: 'contrasts',
      details: { limit: CONTRASTS_MAX },
    });
  }
  return {
    model: request.model,
    contrasts: contrasts.map((contrast, i) => checkedContrast(contrast, `contrasts[${i}]`)),
    heads: request.heads.map(({ layer, head }) => ({ layer, head })),
    weighting: request.weighting === 'WEIGHTING_PAPER' ? 'paper' : 'balanced',
    options: {
      bos: request.options?.bos ?? false,
      no_special: request.options?.no_special ?? false,
    },
  };
}

function checkedContrast(contrast: Contrast, field: string): ContrastJson {
  const { feature, query, positive, negative } = contrast;
  const bytes = new TextEncoder().encode(feature).byteLength;
  if (bytes === 0 || bytes > FEATURE_BYTES_MAX || feature.includes('/')) {
    throw invalidArgument(
      `${field}.feature is ${JSON.stringify(feature.slice(0, 40))}; 1 to ${FEATURE_BYTES_MAX} bytes without "/" are expected`,
      { field: `${field}.feature`, details: { limit: FEATURE_BYTES_MAX } },
    );
  }
  for (const side of ['positive', 'negative'] as const) {
    if (contrast[side].length <= POSITIONS_MAX) continue;
    throw invalidArgument(
      `${field}.${side} has ${contrast[side].length} positions; at most ${POSITIONS_MAX}`,
      { field: `${field}.${side}`, details: { limit: POSITIONS_MAX } },
    );
  }
  if (positive.length + negative.length === 0) {
    throw invalidArgument(`${field} has no positive and no negative position`, { field });
  }
  return {
    feature,
    prompt: promptJson(contrast.prompt, `${field}.prompt`),
    query,
    positive: [...positive],
    negative: [...negative],
  };
}
