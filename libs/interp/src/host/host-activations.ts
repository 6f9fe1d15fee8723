import { invalidArgument, resourceExhausted } from '@heddle/core';
import { type Matrix, matrix } from '@heddle/linalg';
import { type Tensor, tensor } from '@heddle/tensor';
import type { HostShape } from './host-weights.ts';
import { TWIN_TOKENS_MAX } from './limits.ts';

/** What one block did on a prompt. */
export interface LayerActivations {
  /** `hook_resid_pre`, `[pos, d_model]`. */
  readonly resid_pre: Matrix;
  /** `attn.hook_v`, `[pos, kv_head, d_head]`. */
  readonly v: Tensor<'f64'>;
  /** `attn.hook_pattern`, `[head, query_pos, key_pos]`. */
  readonly pattern: Tensor<'f64'>;
  /** `hook_mlp_out`, `[pos, d_model]`. */
  readonly mlp_out: Matrix;
  /**
   * `attn.hook_attn_scores`, `[head, query_pos, key_pos]`; null where the question does not need
   * it.
   */
  readonly attn_scores: Tensor<'f64'> | null;
}

/**
 * One prompt's values, in fp64 whatever they were computed in; blocks from 0 as far as the question
 * reaches.
 */
export interface HostActivations {
  readonly tokens: readonly number[];
  /** `hook_embed`, `[pos, d_model]`. */
  readonly embed: Matrix;
  /** `hook_pos_embed`; null for rotary models. */
  readonly pos_embed: Matrix | null;
  readonly layers: readonly LayerActivations[];
  /** `hook_resid_post` of the last block, `[pos, d_model]`; null where no logit is asked about. */
  readonly resid_final: Matrix | null;
  /** `[pos, d_vocab]`, likewise. */
  readonly logits: Matrix | null;
}

/** What a capture must hold. */
export interface CaptureScope {
  /** Blocks 0 to this − 1 in full. */
  readonly layers: number;
  /** The layer whose scores are read; its residual input is captured too. */
  readonly scoresOf?: number;
  /** The final residual and the logits. */
  readonly logits?: boolean;
}

/** Names of the hook points that `activationsFromHooks` will ask for. */
export function hooksOf(shape: HostShape, scope: CaptureScope): string[] {
  const names = ['hook_embed'];
  if (shape.rotary === null) names.push('hook_pos_embed');
  for (let layer = 0; layer < scope.layers; layer++) {
    names.push(
      `blocks.${layer}.hook_resid_pre`,
      `blocks.${layer}.attn.hook_v`,
      `blocks.${layer}.attn.hook_pattern`,
      `blocks.${layer}.hook_mlp_out`,
    );
  }
  if (scope.scoresOf !== undefined) names.push(`blocks.${scope.scoresOf}.attn.hook_attn_scores`);
  if (scope.logits) names.push(`blocks.${shape.n_layers - 1}.hook_resid_post`, 'logits');
  return names;
}

/**
 * Activations of one prompt from tensors by hook name, without a batch axis, f32 or f64. Refuses a
 * prompt that is too long for the slow twins (RESOURCE_EXHAUSTED with the limit) before it looks at
 * any value, and a value that is not finite.
 */
export function activationsFromHooks(
  shape: HostShape,
  scope: CaptureScope,
  tokens: readonly number[],
  value: (hook: string) => Tensor,
): HostActivations {
  requireTwinLength(tokens.length);
  const pos = tokens.length;
  const resid = (hook: string) => matrixOf(value(hook), [pos, shape.d_model], hook);
  const attention = (hook: string) => wide(value(hook), [shape.n_heads, pos, pos], hook);
  return {
    tokens,
    embed: resid('hook_embed'),
    pos_embed: shape.rotary === null ? resid('hook_pos_embed') : null,
    layers: Array.from({ length: scope.layers }, (_, layer) => ({
      resid_pre: resid(`blocks.${layer}.hook_resid_pre`),
      v: wide(
        value(`blocks.${layer}.attn.hook_v`),
        [pos, shape.n_key_value_heads, shape.d_head],
        `blocks.${layer}.attn.hook_v`,
      ),
      pattern: attention(`blocks.${layer}.attn.hook_pattern`),
      mlp_out: resid(`blocks.${layer}.hook_mlp_out`),
      attn_scores:
        scope.scoresOf === layer ? attention(`blocks.${layer}.attn.hook_attn_scores`) : null,
    })),
    resid_final: scope.logits ? resid(`blocks.${shape.n_layers - 1}.hook_resid_post`) : null,
    logits: scope.logits ? matrixOf(value('logits'), [pos, shape.d_vocab], 'logits') : null,
  };
}

export function requireTwinLength(tokens: number, field = 'prompt'): void {
  if (tokens <= TWIN_TOKENS_MAX) return;
  throw resourceExhausted(
    `the prompt has ${tokens} tokens; this fp64 reference takes at most ${TWIN_TOKENS_MAX}: shorten the prompt`,
    { field, retryable: false, details: { tokens, limit: TWIN_TOKENS_MAX } },
  );
}

function matrixOf(t: Tensor, shape: readonly [number, number], hook: string): Matrix {
  return matrix(shape[0], shape[1], wide(t, shape, hook).data);
}

/** To fp64, with its shape checked. Masked scores are −inf by definition; nothing else may be. */
function wide(t: Tensor, shape: readonly number[], hook: string): Tensor<'f64'> {
  if (t.shape.join() !== shape.join() || (t.dtype !== 'f32' && t.dtype !== 'f64')) {
    throw invalidArgument(
      `${hook} is ${t.dtype} of ${t.shape.join(' × ')}; f32 or f64 of ${shape.join(' × ')} is expected`,
      { field: hook },
    );
  }
  const data = Float64Array.from(t.data as Float32Array | Float64Array);
  const bad = data.findIndex((x) => Number.isNaN(x) || (!Number.isFinite(x) && !isMask(x, hook)));
  if (bad >= 0) {
    throw invalidArgument(`${hook} holds ${data[bad]} at element ${bad}: nothing can be traced`, {
      field: hook,
      details: { index: bad },
    });
  }
  return tensor('f64', shape, data);
}

function isMask(value: number, hook: string): boolean {
  return value === Number.NEGATIVE_INFINITY && hook.endsWith('hook_attn_scores');
}
