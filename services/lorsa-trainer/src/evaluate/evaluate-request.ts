import { invalidArgument } from '@heddle/core';
import type { LorsaConfig } from '@heddle/interp/lorsa';
import type { StartEvaluateRequest } from '@heddle/ports/proto/lorsa';
import { checkedData, type DataRequest } from '../train-request.ts';
import { K_COUNT_MAX } from './limits.ts';

/** An evaluation as it was asked for, in JSON. */
export type EvaluateRequest = {
  readonly checkpoint: string;
  readonly model: string;
  readonly data: DataRequest;
  /** Ascending, without repeats. */
  readonly top_k: readonly number[];
  readonly baseline: boolean;
};

/** What can be checked before the checkpoint is open. Errors: `invalid_argument` naming the field. */
export function checkedEvaluate(request: StartEvaluateRequest): EvaluateRequest {
  if (request.checkpoint === '') {
    throw invalidArgument('no checkpoint named', { field: 'checkpoint' });
  }
  if (request.top_k.length > K_COUNT_MAX) {
    throw invalidArgument(`${request.top_k.length} values of K; at most ${K_COUNT_MAX}`, {
      field: 'top_k',
      details: { limit: K_COUNT_MAX },
    });
  }
  const top_k = [...new Set(request.top_k)].sort((a, b) => a - b);
  if (top_k[0] !== undefined && top_k[0] < 1) {
    throw invalidArgument('K is 0; at least one head must be active', { field: 'top_k' });
  }
  const { checkpoint, model, baseline } = request;
  return { checkpoint, model, data: checkedData(request.data), top_k, baseline };
}

/**
 * The K's to measure at, the layer's own first. Errors: `invalid_argument` for one beyond the heads, and for any where the
 * layer's activation has none.
 */
export function kValues(
  { activation, topK, n_ov_heads }: LorsaConfig,
  asked: readonly number[],
): readonly number[] {
  const others = asked.filter((k) => k !== topK);
  if (others.length > 0 && !activation.endsWith('topk')) {
    throw invalidArgument(`a layer with ${activation} has no K to change`, { field: 'top_k' });
  }
  const last = asked.at(-1) ?? 0;
  if (last <= n_ov_heads) return [topK, ...others];
  throw invalidArgument(`K ${last} is more than the layer's ${n_ov_heads} heads`, {
    field: 'top_k',
    details: { limit: n_ov_heads },
  });
}
