import { invalidArgument, OperationError, resourceExhausted } from '@heddle/core';
import {
  checkLorsaConfig,
  type KSchedule,
  type LearningRate,
  type LorsaConfig,
} from '@heddle/interp/lorsa';
import type { HostLayer, HostSizes } from './host-layer.ts';
import { CHECKPOINT_STEPS, PARAMETERS_MAX } from './limits.ts';
import type { TrainRequest } from './train-request.ts';

/** A training with every default filled in. */
export interface TrainSettings {
  readonly config: LorsaConfig;
  readonly steps: number;
  readonly batch: number;
  readonly context: number;
  readonly rate: LearningRate;
  readonly topK: KSchedule;
  readonly clipNorm: number;
  readonly checkpointSteps: number;
}

/** Rank-one heads per d_model unless asked otherwise; the published dictionaries have 8 to 32, a first look 4. */
const EXPANSION = 4;
/** The paper's K for Pythia-160M. */
const TOP_K = 64;
const STEPS = 500;
const BATCH = 16;
const CONTEXT = 128;
/** Ten times the published 2e-4, which is for 800M tokens; a first training sees about one. */
const PEAK_RATE = 2e-3;
const DECAY_SHARE = 0.2;
const END_SHARE = 1 / 32;
const WARMUP_SHARE = 0.05;

const given = (value: number, otherwise: number): number => (value > 0 ? value : otherwise);

/** What the attention of a host adds to its sizes; left out where a request is only checked. */
type HostAttentionKind = Partial<Pick<HostLayer, 'attnScale' | 'rotary' | 'qkNormEps'>>;

/**
 * The settings of a training on this host. Errors: `invalid_argument` naming the field where the request does not fit
 * the host, `resource_exhausted` with the estimate for a layer that is too large.
 */
export function settingsFor(
  request: TrainRequest,
  host: HostSizes & HostAttentionKind,
): TrainSettings {
  const { architecture: a, optimiser: o } = request;
  const n_qk_heads = given(a.n_qk_heads, host.n_heads);
  const d_qk_head = given(a.d_qk_head, host.d_head);
  const n_ov_heads = given(
    a.n_ov_heads,
    n_qk_heads * Math.ceil((EXPANSION * host.d_model) / n_qk_heads),
  );
  const context = Math.min(given(o.context, CONTEXT), host.n_ctx);
  const steps = given(o.steps, STEPS);
  const enough = Math.ceil((host.n_heads * host.d_head) / 4);
  const top_k = given(a.top_k, Math.min(TOP_K, enough, n_ov_heads));
  const config: LorsaConfig = {
    d_model: host.d_model,
    n_ov_heads,
    n_qk_heads,
    d_qk_head,
    n_ctx: context,
    activation: 'topk',
    topK: top_k,
    signed: false,
    decoderNormInGate: true,
    useDecoderBias: true,
    attnScale: host.attnScale ?? Math.sqrt(d_qk_head),
    rotary: host.rotary,
    qkNormEps: host.qkNormEps,
  };
  checkInit(request, host, config);
  checkStructure(config);
  const parameters = 2 * host.d_model * (n_qk_heads * d_qk_head + n_ov_heads);
  if (parameters > PARAMETERS_MAX) {
    throw resourceExhausted(
      `${parameters} parameters are more than ${PARAMETERS_MAX}: choose fewer heads`,
      { field: 'architecture', retryable: false, details: { parameters, limit: PARAMETERS_MAX } },
    );
  }
  return {
    config,
    steps,
    batch: given(o.batch, BATCH),
    context,
    rate: {
      peak: given(o.learning_rate, PEAK_RATE),
      warmupSteps: given(o.warmup_steps, Math.ceil(steps * WARMUP_SHARE)),
      decayShare: DECAY_SHARE,
      endShare: END_SHARE,
    },
    topK: { shape: 'constant', from: top_k, to: top_k, steps: 0 },
    clipNorm: o.clip_norm > 0 ? o.clip_norm : Number.POSITIVE_INFINITY,
    checkpointSteps: given(request.checkpoint_steps, CHECKPOINT_STEPS),
  };
}

/** Multiply-adds a second of one busy core: what an estimate of time rests on. */
const RATE = 3e10;

/**
 * What a training will cost: three passes over the two big products and the projections for every step, and memory for
 * weights, moments, gradients and what a step computes.
 */
export function estimateTraining({ config, steps, batch, context }: TrainSettings): {
  readonly seconds: number;
  readonly bytes: number;
} {
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head } = config;
  const tokens = batch * context;
  const parameters = 2 * d_model * (n_ov_heads + n_qk_heads * d_qk_head);
  const perStep = 3 * tokens * (parameters + context * (n_ov_heads + n_qk_heads * d_qk_head));
  const working = tokens * (6 * n_ov_heads + 4 * n_qk_heads * context);
  return { seconds: (steps * perStep) / RATE, bytes: 4 * (5 * parameters + working) };
}

/** The structure's own rules, in the words of the request. */
function checkStructure(config: LorsaConfig): void {
  const rotaryDim = config.rotary?.dim ?? 0;
  if (config.d_qk_head < rotaryDim) {
    throw invalidArgument(
      `d_qk_head is ${config.d_qk_head}; the host turns ${rotaryDim} dimensions of a head`,
      { field: 'architecture.d_qk_head' },
    );
  }
  try {
    checkLorsaConfig(config);
  } catch (thrown) {
    const { message, field, details } = OperationError.from(thrown);
    throw invalidArgument(message, {
      ...(field === undefined ? {} : { field: `architecture.${field}` }),
      details,
    });
  }
}

/** Starting from the host's heads needs shared heads that can be theirs. */
function checkInit({ architecture }: TrainRequest, host: HostSizes, config: LorsaConfig): void {
  if (architecture.init === 'xavier') return;
  const refuse = (field: string, message: string) =>
    invalidArgument(`${message}, or choose init xavier`, { field: `architecture.${field}` });
  if (config.d_qk_head !== host.d_head) {
    throw refuse('d_qk_head', `d_qk_head must be the host's d_head ${host.d_head}`);
  }
  if (config.n_qk_heads % host.n_heads !== 0) {
    throw refuse('n_qk_heads', `n_qk_heads must be a multiple of the host's ${host.n_heads} heads`);
  }
  if (config.n_ov_heads % host.n_heads !== 0) {
    throw refuse('n_ov_heads', `n_ov_heads must be a multiple of the host's ${host.n_heads} heads`);
  }
}
