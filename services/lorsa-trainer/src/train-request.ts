import { invalidArgument, type Json, unimplemented } from '@heddle/core';
import type { Prompt } from '@heddle/ports/proto/common';
import type { StartTrainRequest } from '@heddle/ports/proto/lorsa';
import { BATCH_MAX, CONTEXT_MAX, OV_HEADS_MAX, PROMPTS_MAX, STEPS_MAX } from './limits.ts';

const INITS = ['xavier', 'orig_heads', 'active_subspace'] as const;
export type Init = (typeof INITS)[number];

/** A training as it was asked for, in JSON: what the job's journal and the provenance keep. 0 and '' are defaults. */
export type TrainRequest = {
  readonly model: string;
  readonly layer: number;
  readonly architecture: {
    readonly n_ov_heads: number;
    readonly n_qk_heads: number;
    readonly d_qk_head: number;
    readonly top_k: number;
    readonly init: Init;
  };
  readonly optimiser: {
    readonly steps: number;
    readonly batch: number;
    readonly context: number;
    readonly learning_rate: number;
    readonly warmup_steps: number;
    readonly clip_norm: number;
  };
  readonly data: { readonly prompts: readonly TextOrTokens[]; readonly corpus: string };
  readonly seed: number;
  readonly checkpoint_steps: number;
};

export type TextOrTokens = { readonly text: string } | { readonly tokens: readonly number[] };

function bounded(value: number, field: string, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw invalidArgument(`${field} is ${value}; a whole number up to ${max} is expected`, {
      field,
      details: { limit: max },
    });
  }
  return value;
}

function rate(value: number, field: string, max: number): number {
  if (!(value >= 0 && value <= max)) {
    throw invalidArgument(`${field} is ${value}; a number from 0 to ${max} is expected`, {
      field,
      details: { limit: max },
    });
  }
  return value;
}

function promptOf(prompt: Prompt, index: number): TextOrTokens {
  if (prompt.tokens) return { tokens: prompt.tokens.ids };
  if (prompt.text !== undefined && prompt.text !== '') return { text: prompt.text };
  const field = `data.prompts[${index}]`;
  throw invalidArgument(`${field} has neither text nor tokens`, { field });
}

/**
 * What can be checked before the host is known; the rest is checked when the job starts. Errors: `invalid_argument`
 * naming the field and the limit, `unimplemented` for the sparse backend.
 */
export function checkedTrain(request: StartTrainRequest): TrainRequest {
  const { architecture: a, optimiser: o, data } = request;
  if (request.backend !== '' && request.backend !== 'graph') {
    if (request.backend === 'sparse') throw unimplemented('the sparse backend is not built yet');
    throw invalidArgument(`backend is ${request.backend}; graph is known`, { field: 'backend' });
  }
  const init = a?.init === undefined || a.init === '' ? 'active_subspace' : a.init;
  if (!INITS.includes(init as Init)) {
    throw invalidArgument(`architecture.init is ${init}; known are ${INITS.join(', ')}`, {
      field: 'architecture.init',
    });
  }
  const prompts = data?.prompts ?? [];
  const corpus = data?.corpus ?? '';
  if (prompts.length > PROMPTS_MAX) {
    throw invalidArgument(`${prompts.length} prompts; at most ${PROMPTS_MAX}`, {
      field: 'data.prompts',
      details: { limit: PROMPTS_MAX },
    });
  }
  if (prompts.length > 0 && corpus !== '') {
    throw invalidArgument('data has prompts and a corpus; give one', { field: 'data.corpus' });
  }
  return {
    model: request.model,
    layer: bounded(request.layer, 'layer', 1000),
    architecture: {
      n_ov_heads: bounded(a?.n_ov_heads ?? 0, 'architecture.n_ov_heads', OV_HEADS_MAX),
      n_qk_heads: bounded(a?.n_qk_heads ?? 0, 'architecture.n_qk_heads', OV_HEADS_MAX),
      d_qk_head: bounded(a?.d_qk_head ?? 0, 'architecture.d_qk_head', 1024),
      top_k: bounded(a?.top_k ?? 0, 'architecture.top_k', OV_HEADS_MAX),
      init: init as Init,
    },
    optimiser: {
      steps: bounded(o?.steps ?? 0, 'optimiser.steps', STEPS_MAX),
      batch: bounded(o?.batch ?? 0, 'optimiser.batch', BATCH_MAX),
      context: bounded(o?.context ?? 0, 'optimiser.context', CONTEXT_MAX),
      learning_rate: rate(o?.learning_rate ?? 0, 'optimiser.learning_rate', 1),
      warmup_steps: bounded(o?.warmup_steps ?? 0, 'optimiser.warmup_steps', STEPS_MAX),
      clip_norm: rate(o?.clip_norm ?? 0, 'optimiser.clip_norm', 1e6),
    },
    data: { prompts: prompts.map(promptOf), corpus },
    seed: bounded(request.seed, 'seed', Number.MAX_SAFE_INTEGER),
    checkpoint_steps: bounded(request.checkpoint_steps, 'checkpoint_steps', STEPS_MAX),
  };
}

/** The request as the JSON that the job runtime stores. */
export const asJson = (request: TrainRequest): Json => request as unknown as Json;
