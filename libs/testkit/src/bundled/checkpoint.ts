import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { canonicalJson, failedPrecondition, type Json } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import type { Tensor } from '@heddle/tensor';
import type { Recipe } from './recipe.ts';
import type { TrainingState } from './training-step.ts';

/** What a checkpoint must agree with to be gone on from: any change of the recipe or the graph is another training. */
export function trainingDigest(recipe: Recipe, graph: Uint8Array): string {
  const hash = createHash('sha256').update(canonicalJson(recipe as unknown as Json));
  return hash.update(graph).digest('hex');
}

/** Writes beside and renames: a checkpoint is whole or is the one before. */
export function saveCheckpoint(path: string, state: TrainingState, digest: string): void {
  const { step, parameters, m, v } = state;
  const bytes = writeSafetensors({ parameters, m, v }, { step: String(step), training: digest });
  writeFileSync(`${path}.part`, bytes);
  renameSync(`${path}.part`, path);
}

/** The state to go on from; undefined where no checkpoint is. Errors: `failed_precondition` for one of another training. */
export function loadCheckpoint(path: string, digest: string): TrainingState | undefined {
  if (!existsSync(path)) return undefined;
  const file = readSafetensors(path, readFileSync(path));
  const { metadata } = file.header;
  if (metadata.get('training') !== digest) {
    throw failedPrecondition(`${path} is of another recipe or graph; remove it to begin anew`);
  }
  const part = (name: string) => file.tensor(name) as Tensor<'f32'>;
  const step = Number(metadata.get('step'));
  return { step, parameters: part('parameters'), m: part('m'), v: part('v') };
}
