import { invalidArgument, OperationError, resourceExhausted } from '@heddle/core';
import {
  type AuxiliarySettings,
  checkLorsaConfig,
  type KSchedule,
  type LearningRate,
  type LorsaConfig,
} from '@heddle/interp/lorsa';
import type { HostLayer, HostSizes } from './host-layer.ts';
import {
  AUXILIARY_TOP_K,
  CHECKPOINT_APART_MS,
  CHECKPOINT_STEPS,
  DEAD_SHARE,
  DEAD_TOKENS,
  PARAMETERS_MAX,
} from './limits.ts';
import { DEFAULTS, PRESETS, type Preset } from './presets.ts';
import type { Init, TrainRequest } from './train-request.ts';

/** A training with every default filled in. */
export interface TrainSettings {
  readonly config: LorsaConfig;
  readonly init: Init;
  readonly centrePreActivations: boolean;
  readonly steps: number;
  readonly batch: number;
  readonly context: number;
  readonly rate: LearningRate;
  readonly topK: KSchedule;
  readonly clipNorm: number;
  readonly checkpointSteps: number;
  /** At least between two checkpoints. */
  readonly checkpointApartMs: number;
  /** Undefined: no AuxK. */
  readonly auxiliary: AuxiliarySettings | undefined;
  /** Tokens of silence after which a head counts as dead. */
  readonly deadTokens: number;
}

const WARMUP_SHARE = 0.05;
/** The paper's K for Pythia-160M. */
const TOP_K = 64;
/** A schedule without a start begins at so many times the final K. */
const K_FROM_FACTOR = 4;
/** A schedule without a length takes this share of the training (methods 1.7). */
const K_STEPS_SHARE = 0.1;

const given = (value: number, otherwise: number): number => (value > 0 ? value : otherwise);

/** What the attention of a host adds to its sizes; left out where a request is only checked. */
type HostAttentionKind = Partial<Pick<HostLayer, 'attnScale' | 'rotary' | 'qkNormEps'>>;

/**
 * The settings of a training on this host: a field of the request, else of its preset, else one that fits the host. A
 * preset's lengths in steps keep their share of the training when the request changes the number of steps. Errors:
 * `invalid_argument` naming the field where request or preset do not fit the host, `resource_exhausted` with the
 * estimate for a layer that is too large.
 */
export function settingsFor(
  request: TrainRequest,
  host: HostSizes & HostAttentionKind,
): TrainSettings {
  const preset = request.preset === '' ? DEFAULTS : PRESETS[request.preset];
  try {
    return settle(request, host, preset);
  } catch (thrown) {
    if (request.preset === '') throw thrown;
    const { code, message, field, details } = OperationError.from(thrown);
    throw new OperationError({
      code,
      message: `preset ${request.preset}: ${message}`,
      ...(field === undefined ? {} : { field }),
      details,
    });
  }
}

function settle(
  request: TrainRequest,
  host: HostSizes & HostAttentionKind,
  preset: Preset,
): TrainSettings {
  const { optimiser: o, architecture: a } = request;
  const steps = given(o.steps, preset.steps.value);
  const context = contextFor(request, host, preset);
  const config = configFor(request, host, preset, context);
  const init = a.init === '' ? preset.init.value : a.init;
  checkInit(init, host, config);
  checkStructure(config);
  checkParameters(config);
  const share = steps / preset.steps.value;
  const warmup = Math.round(preset.warmup_steps.value * share);
  const clip = given(o.clip_norm, preset.clip_norm.value);
  const batch = given(o.batch, preset.batch.value);
  const { auxiliary: aux } = request;
  const planned = batch * context * steps;
  const deadTokens = given(aux.dead_tokens, Math.min(DEAD_TOKENS, Math.ceil(DEAD_SHARE * planned)));
  return {
    config,
    init,
    centrePreActivations: a.centre_pre_activations,
    steps,
    batch,
    context,
    rate: {
      peak: given(o.learning_rate, preset.learning_rate.value),
      warmupSteps: given(o.warmup_steps, given(warmup, Math.ceil(steps * WARMUP_SHARE))),
      decayShare: given(o.decay_share, preset.decay_share.value),
      endShare: given(o.end_share, preset.end_share.value),
    },
    topK: scheduleFor(request, config, preset, steps),
    clipNorm: clip > 0 ? clip : Number.POSITIVE_INFINITY,
    checkpointSteps: given(request.checkpoint_steps, CHECKPOINT_STEPS),
    checkpointApartMs: request.checkpoint_steps === 0 ? CHECKPOINT_APART_MS : 0,
    auxiliary:
      aux.coefficient > 0
        ? {
            coefficient: aux.coefficient,
            topK: Math.min(given(aux.top_k, AUXILIARY_TOP_K), config.n_ov_heads),
            deadTokens,
          }
        : undefined,
    deadTokens,
  };
}

function contextFor({ optimiser, preset }: TrainRequest, host: HostSizes, of: Preset): number {
  const wanted = given(optimiser.context, of.context.value);
  if (wanted <= host.n_ctx) return wanted;
  // A default bends to the host; what somebody chose does not.
  if (optimiser.context === 0 && (preset === '' || preset === 'small')) return host.n_ctx;
  throw invalidArgument(`context is ${wanted}; the host has ${host.n_ctx} positions`, {
    field: 'optimiser.context',
    details: { limit: host.n_ctx },
  });
}

function configFor(
  { architecture: a }: TrainRequest,
  host: HostSizes & HostAttentionKind,
  preset: Preset,
  context: number,
): LorsaConfig {
  const sized = (value: number | 'host', own: number) => (value === 'host' ? own : value);
  const n_qk_heads = given(a.n_qk_heads, sized(preset.n_qk_heads.value, host.n_heads));
  const d_qk_head = given(a.d_qk_head, sized(preset.d_qk_head.value, host.d_head));
  const width = preset.n_ov_heads.value;
  const expansion = typeof width === 'number' ? 0 : width.perDModel * host.d_model;
  const n_ov_heads = given(
    a.n_ov_heads,
    typeof width === 'number' ? width : n_qk_heads * Math.ceil(expansion / n_qk_heads),
  );
  const enough = Math.ceil((host.n_heads * host.d_head) / 4);
  const top_k = given(a.top_k, sized(preset.top_k.value, Math.min(TOP_K, enough, n_ov_heads)));
  return {
    d_model: host.d_model,
    n_ov_heads,
    n_qk_heads,
    d_qk_head,
    n_ctx: context,
    activation: 'topk',
    topK: top_k,
    signed: a.signed,
    decoderNormInGate: true,
    useDecoderBias: true,
    attnScale: host.attnScale ?? Math.sqrt(d_qk_head),
    rotary: host.rotary,
    qkNormEps: host.qkNormEps,
  };
}

/**
 * How K falls. Errors: `invalid_argument` for a start below the end or beyond all heads, and for more steps than the
 * training has.
 */
function scheduleFor(
  { optimiser: { top_k_schedule: asked } }: TrainRequest,
  { topK, n_ov_heads }: LorsaConfig,
  preset: Preset,
  steps: number,
): KSchedule {
  const refuse = (field: string, message: string, limit: number) =>
    invalidArgument(message, { field: `optimiser.top_k_schedule.${field}`, details: { limit } });
  const own = asked.shape !== '' || asked.from > 0 || asked.steps > 0;
  const ownShape = asked.shape === '' ? (own ? 'linear' : preset.k_shape.value) : asked.shape;
  const shape = own ? ownShape : preset.k_shape.value;
  if (shape === 'constant') return { shape, from: topK, to: topK, steps: 0 };
  const usual = Math.min(n_ov_heads, K_FROM_FACTOR * topK);
  const start = own ? given(asked.from, usual) : given(preset.k_from.value, usual);
  if (start < topK) {
    throw refuse('from', `K falls from ${start} to ${topK}; from must be the larger`, topK);
  }
  if (start > n_ov_heads) {
    throw refuse('from', `K starts at ${start} of ${n_ov_heads} heads`, n_ov_heads);
  }
  const tenth = Math.max(1, Math.ceil(K_STEPS_SHARE * steps));
  const scaled = Math.round((preset.k_steps.value * steps) / preset.steps.value);
  const length = own ? given(asked.steps, tenth) : given(scaled, tenth);
  if (length > steps) throw refuse('steps', `K falls for ${length} of ${steps} steps`, steps);
  return { shape, from: start, to: topK, steps: length };
}

/**
 * The same settings once the text is known: sequences that are shorter than the context make a training shorter, and its
 * heads die sooner. `tokensPerSequence`: mean valid tokens.
 */
export function forText(
  settings: TrainSettings,
  { auxiliary: { dead_tokens } }: TrainRequest,
  tokensPerSequence: number,
): TrainSettings {
  if (dead_tokens > 0) return settings;
  const planned = tokensPerSequence * settings.batch * settings.steps;
  const deadTokens = Math.min(DEAD_TOKENS, Math.ceil(DEAD_SHARE * planned));
  const { auxiliary } = settings;
  return { ...settings, deadTokens, auxiliary: auxiliary && { ...auxiliary, deadTokens } };
}

function checkParameters({ d_model, n_qk_heads, d_qk_head, n_ov_heads }: LorsaConfig): void {
  const parameters = 2 * d_model * (n_qk_heads * d_qk_head + n_ov_heads);
  if (parameters <= PARAMETERS_MAX) return;
  throw resourceExhausted(
    `${parameters} parameters are more than ${PARAMETERS_MAX}: choose fewer heads`,
    { field: 'architecture', retryable: false, details: { parameters, limit: PARAMETERS_MAX } },
  );
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
function checkInit(init: Init, host: HostSizes, config: LorsaConfig): void {
  if (init === 'xavier') return;
  const refuse = (field: string, message: string) =>
    invalidArgument(`${message}, or choose init xavier`, { field: `architecture.${field}` });
  if (config.d_qk_head !== host.d_head) {
    const message = `d_qk_head is ${config.d_qk_head} and must be the host's d_head ${host.d_head}`;
    throw refuse('d_qk_head', message);
  }
  for (const field of ['n_qk_heads', 'n_ov_heads'] as const) {
    if (config[field] % host.n_heads === 0) continue;
    const must = `must be a multiple of the host's ${host.n_heads} heads`;
    throw refuse(field, `${field} is ${config[field]} and ${must}`);
  }
}
