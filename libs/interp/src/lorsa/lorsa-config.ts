import { assert, invalidArgument } from '@heddle/core';
import type { RotaryConfig } from './rotary.ts';

/** Which pre-activations may write. Published dictionaries use `topk`; the others occur in the published format. */
export type LorsaActivation = 'topk' | 'batchtopk' | 'relu' | 'jumprelu';

/**
 * The structure of one Lorsa layer (low-rank sparse attention, He et al. 2025): everything about it that is not a
 * trained number. `n_ov_heads` rank-one heads share `n_qk_heads` attention patterns in consecutive groups.
 */
export interface LorsaConfig {
  readonly d_model: number;
  readonly n_ov_heads: number;
  readonly n_qk_heads: number;
  readonly d_qk_head: number;
  /** Longest sequence, in tokens. */
  readonly n_ctx: number;
  readonly activation: LorsaActivation;
  /** Active heads per token at most (`topk`, `batchtopk` on average). */
  readonly topK: number;
  /** Ours: keeps negative activations and ranks by size, as code before 2025 did. Only with `topk`. */
  readonly signed: boolean;
  /** Heads compete by what they would write, z·‖w_o‖, instead of by z. */
  readonly decoderNormInGate: boolean;
  readonly useDecoderBias: boolean;
  /** Scores are divided by this; √d_qk_head unless the host says otherwise. */
  readonly attnScale: number;
  /** Undefined for hosts with learned positions: the position is in the input already. */
  readonly rotary: RotaryConfig | undefined;
  /** Epsilon of the RMS norm of queries and keys; undefined without it. */
  readonly qkNormEps: number | undefined;
}

/** Rank-one heads per shared query-key head: G = n_ov_heads / n_qk_heads. */
export function groupSize(config: LorsaConfig): number {
  return config.n_ov_heads / config.n_qk_heads;
}

/** h(i) = floor(i / G): consecutive blocks of rank-one heads share a pattern. */
export function qkHeadOf(config: LorsaConfig, ovHead: number): number {
  assert(ovHead >= 0 && ovHead < config.n_ov_heads, () => `there is no head ${ovHead}`);
  return Math.floor(ovHead / groupSize(config));
}

function whole(value: number, field: string): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw invalidArgument(`${field} is ${value}, not a whole number ≥ 1`, { field });
  }
}

/** The config, if it describes a Lorsa layer. Errors: `invalid_argument` naming the field. */
export function checkLorsaConfig(config: LorsaConfig): LorsaConfig {
  for (const field of [
    'd_model',
    'n_ov_heads',
    'n_qk_heads',
    'd_qk_head',
    'n_ctx',
    'topK',
  ] as const) {
    whole(config[field], field);
  }
  if (config.n_ov_heads % config.n_qk_heads !== 0) {
    throw invalidArgument(
      `n_ov_heads ${config.n_ov_heads} is not a multiple of n_qk_heads ${config.n_qk_heads}`,
      { field: 'n_ov_heads' },
    );
  }
  if (config.activation.endsWith('topk') && config.topK > config.n_ov_heads) {
    throw invalidArgument(`top_k ${config.topK} is more than n_ov_heads ${config.n_ov_heads}`, {
      field: 'top_k',
    });
  }
  if (config.signed && config.activation !== 'topk') {
    throw invalidArgument('signed activations exist only with topk', { field: 'signed' });
  }
  if (!(config.attnScale > 0 && Number.isFinite(config.attnScale))) {
    throw invalidArgument(`attn_scale is ${config.attnScale}, not a positive divisor`, {
      field: 'attn_scale',
    });
  }
  const { rotary } = config;
  if (rotary && (rotary.dim % 2 !== 0 || rotary.dim < 2 || rotary.dim > config.d_qk_head)) {
    throw invalidArgument(
      `rotary_dim ${rotary.dim} is not even and within d_qk_head ${config.d_qk_head}`,
      { field: 'rotary_dim' },
    );
  }
  return config;
}
