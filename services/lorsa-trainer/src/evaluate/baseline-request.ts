import type { JobView } from '@heddle/actor';
import { failedPrecondition, invalidArgument } from '@heddle/core';
import type { KShape } from '@heddle/interp/lorsa';
import { decodeOutcome } from '@heddle/ports';
import { openCheckpoint } from '../checkpoint-files.ts';
import { readHostSizes } from '../host-layer.ts';
import { settingsFor } from '../lorsa-settings.ts';
import type { LorsaDeps } from '../part.ts';
import { trainRequestOf } from '../train-request.ts';
import { PILOT_SHARE, PILOT_STEPS_MIN, RATE_FACTORS } from './limits.ts';
import type { SaeSettings } from './sae-steps.ts';

/** A baseline with every number filled in, as its job's journal keeps it: those of the training that it stands beside. */
export type BaselineRequest = {
  readonly training: string;
  readonly checkpoint_digest: string;
  readonly model: string;
  readonly model_digest: string;
  readonly hook_in: string;
  readonly hook: string;
  /** The manifest of the activations that the training read. */
  readonly activations: string;
  /** Mean ‖y‖ as the training measured it: its y and the baseline's are the same numbers. */
  readonly norm_in: number;
  readonly norm_out: number;
  readonly d_model: number;
  readonly d_sae: number;
  readonly top_k: number;
  readonly steps: number;
  readonly batch: number;
  /** Tried in turn, each for `pilot_steps`; the best of them trains. */
  readonly learning_rates: readonly number[];
  readonly pilot_steps: number;
  readonly warmup_steps: number;
  readonly decay_share: number;
  readonly end_share: number;
  readonly k_schedule: {
    readonly shape: KShape;
    readonly from: number;
    readonly to: number;
    readonly steps: number;
  };
  /** 0: no clipping. */
  readonly clip_norm: number;
  readonly dead_tokens: number;
  /** AuxK as the training had it; coefficient 0: none. */
  readonly auxiliary: { readonly coefficient: number; readonly top_k: number };
  readonly checkpoint_steps: number;
  readonly seed: number;
};

export type BaselineDeps = Pick<LorsaDeps, 'blobs' | 'hub' | 'jobs' | 'peers'>;

const TRAINING = 'lorsa.train';

/**
 * The baseline of a training. Errors: `failed_precondition` saying what to do, where the checkpoint is no finished training
 * of ours: without the text that it was trained on there is nothing to train the baseline on.
 */
export async function baselineRequest(
  deps: BaselineDeps,
  checkpoint: string,
  seed: number,
  signal?: AbortSignal,
): Promise<BaselineRequest> {
  const view = await trainingOf(deps, checkpoint);
  const train = trainRequestOf(view.request);
  const { layer, provenance, digest } = await openCheckpoint(
    { blobs: deps.blobs, hub: deps.hub, jobResult: (id) => resultOf(deps, id) },
    view.id,
  );
  const { config, norms } = layer;
  const { activations, model, model_digest } = provenance;
  if (!norms || typeof activations !== 'string') {
    throw failedPrecondition(
      `training ${view.id} does not say which activations it read: train it again with this version`,
      { field: 'checkpoint' },
    );
  }
  const host = await readHostSizes(deps.peers, train.model, signal);
  const settings = settingsFor(
    { ...train, optimiser: { ...train.optimiser, context: config.n_ctx } },
    host,
  );
  // The training settled it once it knew how long its sequences are.
  const { summary } = decodeOutcome(await resultOf(deps, view.id));
  const deadTokens = Number(summary['dead_after_tokens'] ?? settings.deadTokens);
  return {
    training: view.id,
    checkpoint_digest: digest,
    model: String(model ?? train.model),
    model_digest: String(model_digest ?? ''),
    hook_in: layer.hookIn,
    hook: layer.hookOut,
    activations,
    norm_in: norms.input,
    norm_out: norms.output,
    d_model: config.d_model,
    d_sae: config.n_ov_heads,
    top_k: config.topK,
    steps: settings.steps,
    batch: settings.batch,
    learning_rates: RATE_FACTORS.map((factor) => Math.min(1, factor * settings.rate.peak)),
    pilot_steps: Math.min(
      settings.steps,
      Math.max(PILOT_STEPS_MIN, Math.ceil(PILOT_SHARE * settings.steps)),
    ),
    warmup_steps: settings.rate.warmupSteps,
    decay_share: settings.rate.decayShare,
    end_share: settings.rate.endShare,
    k_schedule: settings.topK,
    clip_norm: Number.isFinite(settings.clipNorm) ? settings.clipNorm : 0,
    dead_tokens: deadTokens,
    auxiliary: {
      coefficient: settings.auxiliary?.coefficient ?? 0,
      top_k: settings.auxiliary?.topK ?? 0,
    },
    checkpoint_steps: settings.checkpointSteps,
    seed,
  };
}

/** The settings of a training at the first rate. */
export function saeSettings(request: BaselineRequest): SaeSettings {
  const { coefficient, top_k: topK } = request.auxiliary;
  return {
    config: { d_model: request.d_model, d_sae: request.d_sae, topK: request.top_k },
    steps: request.steps,
    batch: request.batch,
    rate: {
      peak: request.learning_rates[0] ?? 0,
      warmupSteps: request.warmup_steps,
      decayShare: request.decay_share,
      endShare: request.end_share,
    },
    topK: request.k_schedule,
    auxiliary: coefficient > 0 ? { coefficient, topK, deadTokens: request.dead_tokens } : undefined,
    clipNorm: request.clip_norm > 0 ? request.clip_norm : Number.POSITIVE_INFINITY,
    checkpointSteps: request.checkpoint_steps,
  };
}

async function trainingOf({ jobs }: BaselineDeps, checkpoint: string): Promise<JobView> {
  const refuse = (what: string) =>
    failedPrecondition(
      `${what}: a baseline is trained on what the checkpoint was trained on, which only a training of this server tells. Train the layer here (heddle lorsa train), or evaluate without a baseline`,
      { field: 'baseline' },
    );
  if (checkpoint === '') throw invalidArgument('no training named', { field: 'checkpoint' });
  if (checkpoint.includes('/') || checkpoint.endsWith('.safetensors')) {
    throw refuse(`${checkpoint} is a file`);
  }
  const view = await jobs.get(checkpoint);
  if (view.kind !== TRAINING) throw refuse(`job ${view.id} is a ${view.kind}`);
  if (view.status === 'completed') return view;
  throw failedPrecondition(`training ${view.id} is ${view.status}; wait until it has finished`, {
    field: 'checkpoint',
  });
}

export const resultOf = async (
  { blobs, jobs }: Pick<BaselineDeps, 'blobs' | 'jobs'>,
  id: string,
): Promise<Uint8Array> => blobs.read((await jobs.result(id)).digest);
