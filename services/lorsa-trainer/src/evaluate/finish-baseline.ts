import { outcomeWithFiles, type TaskOutput } from '@heddle/actor';
import type { Json } from '@heddle/core';
import type { ActivationShard } from '@heddle/formats';
import { reconstructionFigures, tokensOf } from '@heddle/interp/evaluation';
import {
  foldSae,
  SAE_CONFIG_FILE,
  SAE_WEIGHTS_FILE,
  type SaeLayer,
  type SaePilot,
  type SaeTrainingState,
  saeWeightsOf,
  writeSaeFiles,
} from '@heddle/interp/sae';
import { engineVersions } from '@heddle/ports';
import { HELD_OUT_TOKENS } from '../limits.ts';
import { documentHashes } from '../trained-documents.ts';
import type { BaselineRequest } from './baseline-request.ts';
import type { Baseline } from './baseline-training.ts';
import { emptySums, measure, saeSubject } from './subject.ts';

/** Features silent for as long as a head of the training would be called dead. */
export const deadFeatures = (
  { silentTokens }: SaeTrainingState,
  { dead_tokens }: BaselineRequest,
): number => silentTokens.filter((silent) => silent >= dead_tokens).length;

/** The files, in the host's units, and how good they are on held-out text. */
export async function finished(
  baseline: Baseline,
  state: SaeTrainingState,
  run: { readonly seconds: number; readonly rate: number; readonly pilots: readonly SaePilot[] },
): Promise<TaskOutput> {
  const { deps, context, request, settings, engine, program, shards } = baseline;
  const layer = layerOf(baseline, state);
  const heldOut = await measuredOn(baseline, layer, shards.heldOut, HELD_OUT_TOKENS);
  const provenance: Record<string, Json> = {
    model: request.model,
    model_digest: request.model_digest,
    data_digest: shards.manifest.corpus_digest,
    program_digest: `sha256:${program.digest}`,
    activations: request.activations,
    training: request.training,
    precision: 'fp32',
    provider: engine.provider,
    seed: request.seed,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
  const files = writeSaeFiles(layer, {
    model_name: request.model,
    context_size: shards.manifest.context,
    ...provenance,
  });
  const { fvu, l0 } = heldOut.figures;
  return outcomeWithFiles(context.blobs, {
    summary: {
      training: request.training,
      model: request.model,
      hook: request.hook,
      steps: state.step,
      fvu: fvu.value,
      l0,
      dead_features: deadFeatures(state, request),
      dead_after_tokens: request.dead_tokens,
      features: settings.config.d_sae,
      top_k: settings.config.topK,
      learning_rate: run.rate,
      rates_tried: run.pilots.map(({ rate, fvu: left }) => ({ rate, fvu: left })),
      held_out_tokens: heldOut.tokens,
      seed: request.seed,
      seconds: run.seconds,
    },
    files: [
      { name: SAE_WEIGHTS_FILE, mediaType: 'application/x-safetensors', content: files.weights },
      {
        name: SAE_CONFIG_FILE,
        mediaType: 'application/json',
        content: new TextEncoder().encode(files.configText),
      },
    ],
    provenance,
  });
}

/** The autoencoder as its file has it. */
export function layerOf(
  { request, settings, factors }: Baseline,
  state: SaeTrainingState,
): SaeLayer {
  const weights = foldSae(saeWeightsOf(state), factors.output);
  return { config: settings.config, weights, hook: request.hook };
}

/** FVU and L0 of the file itself on the first shards that have so many tokens. */
export async function measuredOn(
  { deps, context, shards, settings }: Baseline,
  layer: SaeLayer,
  of: readonly ActivationShard[],
  tokens: number,
) {
  const subject = saeSubject(layer, [settings.config.topK], layer.weights.b_dec.data);
  const sums = emptySums(subject);
  for (const shard of of) {
    if (tokensOf(sums) >= tokens) break;
    const { x, y, valid, length, document } = await shards.read(shard);
    const batch = { x, y, valid, lengths: length.data, documents: documentHashes(document.data) };
    const options = { signal: context.signal, between: () => context.pulse() };
    await measure(deps.engine, subject, batch, sums, options);
  }
  return { figures: reconstructionFigures(sums, 0), tokens: tokensOf(sums) };
}
