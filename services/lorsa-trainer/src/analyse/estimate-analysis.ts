import type { Estimate } from '@heddle/actor';
import type { LorsaLayer } from '@heddle/interp/lorsa';
import type { AnalysisRequest } from './analysis-request.ts';
import { RUN_BYTES_MAX } from './limits.ts';

/** Events and tokens that are kept of each head beside its samples, and bytes of each. */
const KEPT = 200;
const KEPT_BYTES = 24;

/** Tokens of a text whose length nobody knows yet: the tenth of a small corpus. */
const TOKENS = 100_000;

/** Multiply-adds a second of one busy core. */
const RATE = 3e10;

/** Reading probes and vocabulary, whatever the text. */
const PROBE_SECONDS = 10;

/**
 * What an analysis will cost. Memory: the weights as read, folded and fed; per head what is kept of both halves of the
 * text, once more as a checkpoint; one run of the engine. Time: the layer over the text.
 */
export function estimateAnalysis(
  { config, weights }: LorsaLayer,
  { samples, baseline, data }: AnalysisRequest,
): Estimate {
  const parameters = Object.values(weights).reduce((sum, t) => sum + t.data.length, 0);
  const kept = 4 * config.n_ov_heads * (KEPT + samples) * KEPT_BYTES;
  const perToken = parameters + config.n_ctx * (config.n_ov_heads + config.n_qk_heads);
  const tokens = data.tokens_max === 0 ? TOKENS : data.tokens_max;
  return {
    bytes: 12 * parameters + (baseline ? 2 : 1) * kept + 2 * RUN_BYTES_MAX,
    seconds: PROBE_SECONDS + ((baseline ? 2 : 1) * tokens * perToken) / RATE,
  };
}
