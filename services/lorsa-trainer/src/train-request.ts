import { canonicalJson, invalidArgument, type Json } from '@heddle/core';
import { K_SHAPES, type KShape } from '@heddle/interp/lorsa';
import type { Prompt } from '@heddle/ports/proto/common';
import type {
  Architecture,
  AuxiliaryLoss,
  Optimiser,
  StartTrainRequest,
  TrainingData,
} from '@heddle/ports/proto/lorsa';
import {
  BATCH_MAX,
  CONTEXT_MAX,
  DEAD_TOKENS_MAX,
  OV_HEADS_MAX,
  PROMPTS_MAX,
  STEPS_MAX,
} from './limits.ts';
import { PRESETS, type PresetName } from './presets.ts';

const INITS = ['xavier', 'orig_heads', 'active_subspace'] as const;
export type Init = (typeof INITS)[number];

const BACKENDS = ['graph', 'sparse'] as const;
export type Backend = (typeof BACKENDS)[number];

/** A training as it was asked for, in JSON: what the job's journal and the provenance keep. 0 and '' are defaults. */
export type TrainRequest = {
  readonly model: string;
  readonly layer: number;
  readonly preset: PresetName | '';
  readonly architecture: {
    readonly n_ov_heads: number;
    readonly n_qk_heads: number;
    readonly d_qk_head: number;
    readonly top_k: number;
    readonly init: Init | '';
    readonly signed: boolean;
    readonly centre_pre_activations: boolean;
  };
  readonly optimiser: {
    readonly steps: number;
    readonly batch: number;
    readonly context: number;
    readonly learning_rate: number;
    readonly warmup_steps: number;
    readonly clip_norm: number;
    readonly decay_share: number;
    readonly end_share: number;
    readonly top_k_schedule: {
      readonly shape: KShape | '';
      readonly from: number;
      readonly steps: number;
    };
  };
  readonly auxiliary: {
    readonly coefficient: number;
    readonly top_k: number;
    readonly dead_tokens: number;
  };
  readonly data: DataRequest;
  readonly seed: number;
  readonly backend: Backend | '';
  readonly checkpoint_steps: number;
};

/** Text, or the job that made activations of some. */
export type DataRequest = {
  readonly prompts: readonly TextOrTokens[];
  readonly corpus: string;
  readonly tokens_max: number;
  readonly activations: string;
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

/** One of some names, or '' for the default. */
function named<T extends string>(value: string, field: string, names: readonly T[]): T | '' {
  if (value === '' || names.includes(value as T)) return value as T | '';
  throw invalidArgument(`${field} is ${value}; known are ${names.join(', ')}`, { field });
}

function promptOf(prompt: Prompt, index: number): TextOrTokens {
  if (prompt.tokens) return { tokens: prompt.tokens.ids };
  if (prompt.text !== undefined && prompt.text !== '') return { text: prompt.text };
  const field = `data.prompts[${index}]`;
  throw invalidArgument(`${field} has neither text nor tokens`, { field });
}

/** The text of a request. Errors: `invalid_argument` naming the field, for more than one source too. */
export function checkedData(data: TrainingData | null): DataRequest {
  const prompts = data?.prompts ?? [];
  const corpus = data?.corpus ?? '';
  const activations = data?.activations ?? '';
  if (prompts.length > PROMPTS_MAX) {
    throw invalidArgument(`${prompts.length} prompts; at most ${PROMPTS_MAX}`, {
      field: 'data.prompts',
      details: { limit: PROMPTS_MAX },
    });
  }
  if (prompts.length > 0 && corpus !== '') {
    throw invalidArgument('data has prompts and a corpus; give one', { field: 'data.corpus' });
  }
  if (activations !== '' && (prompts.length > 0 || corpus !== '')) {
    throw invalidArgument('data has text and activations of some; give one', {
      field: 'data.activations',
    });
  }
  const tokens_max = bounded(data?.tokens_max ?? 0, 'data.tokens_max', Number.MAX_SAFE_INTEGER);
  return { prompts: prompts.map(promptOf), corpus, tokens_max, activations };
}

function checkedArchitecture(a: Architecture | null): TrainRequest['architecture'] {
  return {
    n_ov_heads: bounded(a?.n_ov_heads ?? 0, 'architecture.n_ov_heads', OV_HEADS_MAX),
    n_qk_heads: bounded(a?.n_qk_heads ?? 0, 'architecture.n_qk_heads', OV_HEADS_MAX),
    d_qk_head: bounded(a?.d_qk_head ?? 0, 'architecture.d_qk_head', 1024),
    top_k: bounded(a?.top_k ?? 0, 'architecture.top_k', OV_HEADS_MAX),
    init: named(a?.init ?? '', 'architecture.init', INITS),
    signed: a?.signed ?? false,
    centre_pre_activations: a?.centre_pre_activations ?? false,
  };
}

function checkedOptimiser(o: Optimiser | null): TrainRequest['optimiser'] {
  const k = o?.top_k_schedule;
  return {
    steps: bounded(o?.steps ?? 0, 'optimiser.steps', STEPS_MAX),
    batch: bounded(o?.batch ?? 0, 'optimiser.batch', BATCH_MAX),
    context: bounded(o?.context ?? 0, 'optimiser.context', CONTEXT_MAX),
    learning_rate: rate(o?.learning_rate ?? 0, 'optimiser.learning_rate', 1),
    warmup_steps: bounded(o?.warmup_steps ?? 0, 'optimiser.warmup_steps', STEPS_MAX),
    clip_norm: rate(o?.clip_norm ?? 0, 'optimiser.clip_norm', 1e6),
    decay_share: rate(o?.decay_share ?? 0, 'optimiser.decay_share', 1),
    end_share: rate(o?.end_share ?? 0, 'optimiser.end_share', 1),
    top_k_schedule: {
      shape: named(k?.shape ?? '', 'optimiser.top_k_schedule.shape', K_SHAPES),
      from: bounded(k?.from ?? 0, 'optimiser.top_k_schedule.from', OV_HEADS_MAX),
      steps: bounded(k?.steps ?? 0, 'optimiser.top_k_schedule.steps', STEPS_MAX),
    },
  };
}

function checkedAuxiliary(a: AuxiliaryLoss | null): TrainRequest['auxiliary'] {
  return {
    coefficient: rate(a?.coefficient ?? 0, 'auxiliary.coefficient', 1e6),
    top_k: bounded(a?.top_k ?? 0, 'auxiliary.top_k', OV_HEADS_MAX),
    dead_tokens: bounded(a?.dead_tokens ?? 0, 'auxiliary.dead_tokens', DEAD_TOKENS_MAX),
  };
}

/**
 * What can be checked before the host is known; the rest is checked when the job starts. Errors: `invalid_argument`
 * naming the field and the limit.
 */
export function checkedTrain(request: StartTrainRequest): TrainRequest {
  return {
    model: request.model,
    layer: bounded(request.layer, 'layer', 1000),
    preset: named(request.preset, 'preset', Object.keys(PRESETS) as PresetName[]),
    architecture: checkedArchitecture(request.architecture),
    optimiser: checkedOptimiser(request.optimiser),
    auxiliary: checkedAuxiliary(request.auxiliary),
    data: checkedData(request.data),
    seed: bounded(request.seed, 'seed', Number.MAX_SAFE_INTEGER),
    backend: named(request.backend, 'backend', BACKENDS),
    checkpoint_steps: bounded(request.checkpoint_steps, 'checkpoint_steps', STEPS_MAX),
  };
}

/** The request as the JSON that the job runtime stores. */
export const asJson = (request: TrainRequest): Json => request as unknown as Json;

/** What a request of the first version, without these fields, meant. */
const FIRST_VERSION = {
  preset: '',
  architecture: { signed: false, centre_pre_activations: false },
  optimiser: { decay_share: 0, end_share: 0, top_k_schedule: { shape: '', from: 0, steps: 0 } },
  auxiliary: { coefficient: 0, top_k: 0, dead_tokens: 0 },
  data: { tokens_max: 0, activations: '' },
  backend: 'graph',
} as const;

/** The request as a journal keeps it, of whichever version. */
export function trainRequestOf(json: Json): TrainRequest {
  const given = json as unknown as TrainRequest;
  return {
    ...FIRST_VERSION,
    ...given,
    architecture: { ...FIRST_VERSION.architecture, ...given.architecture },
    optimiser: { ...FIRST_VERSION.optimiser, ...given.optimiser },
    data: { ...FIRST_VERSION.data, ...given.data },
  };
}

/** Whether a request of then asks what one of now asks; the first version wrote its defaults out. */
export function sameTraining(then: Json, now: Json): boolean {
  const [kept, asked] = [then, now].map(trainRequestOf) as [TrainRequest, TrainRequest];
  if (Object.hasOwn(then as object, 'preset')) return equal(kept, asked);
  const { architecture, backend } = asked;
  const init = architecture.init === '' ? 'active_subspace' : architecture.init;
  return equal(kept, {
    ...asked,
    architecture: { ...architecture, init },
    backend: backend === '' ? 'graph' : backend,
  });
}

const equal = (a: TrainRequest, b: TrainRequest): boolean =>
  canonicalJson(asJson(a)) === canonicalJson(asJson(b));
