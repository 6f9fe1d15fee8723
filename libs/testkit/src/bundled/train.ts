/**
 * Trains the bundled model and writes its folder. Resumes from the checkpoint when there is one.
 *
 *   node libs/testkit/src/bundled/train.ts --checkpoint FILE [--out DIR] [--threads N] [--steps N]
 *
 * `--steps` stops early (the checkpoint stays); without `--out` nothing but the checkpoint is written.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { OrtEngine } from '@heddle/adapters/ort';
import { type Bpe, BpeEncoder } from './bpe.ts';
import { BUNDLED_RECIPE } from './bundled-recipe.ts';
import { loadCheckpoint, saveCheckpoint, trainingDigest } from './checkpoint.ts';
import { configJson, modelFile } from './model-files.ts';
import { stepCount } from './recipe.ts';
import { tokenizerConfigJson, tokenizerJson } from './tokenizer-file.ts';
import { trainingModel } from './training-graph.ts';
import { initialState, programOf, type TrainingState, trainOneStep } from './training-step.ts';
import { bundledBpe } from './vocabulary.ts';

/** A checkpoint is 15 MB: every two hundred steps it costs nothing and a stop costs a minute. */
const CHECKPOINT_STEPS = 200;
const REPORT_STEPS = 50;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      checkpoint: { type: 'string' },
      out: { type: 'string' },
      threads: { type: 'string', default: '1' },
      steps: { type: 'string' },
    },
  });
  if (values.checkpoint === undefined) throw new Error('--checkpoint FILE is needed');
  const bpe = bundledBpe();
  const last = Math.min(Number(values.steps ?? Infinity), stepCount(BUNDLED_RECIPE));
  const state = await train(bpe, values.checkpoint, last, Number(values.threads));
  if (values.out !== undefined) writeModelFolder(values.out, bpe, state);
}

async function train(
  bpe: Bpe,
  checkpoint: string,
  lastStep: number,
  threads: number,
): Promise<TrainingState> {
  const recipe = BUNDLED_RECIPE;
  const d_vocab = bpe.vocab.size;
  const program = programOf(trainingModel({ ...recipe.sizes, d_vocab }));
  const digest = trainingDigest(recipe, program.bytes);
  let state = loadCheckpoint(checkpoint, digest) ?? initialState(recipe, d_vocab);
  const engine = await OrtEngine.start({ threads });
  const encoder = new BpeEncoder(bpe);
  let [lossSum, since, startedMs] = [0, 0, performance.now()];
  while (state.step < lastStep) {
    const result = await trainOneStep(engine, program, { recipe, encoder, state });
    state = result.state;
    lossSum += result.loss;
    since++;
    if (state.step % REPORT_STEPS === 0 || state.step === lastStep) {
      const msPerStep = (performance.now() - startedMs) / since;
      process.stdout.write(
        `step ${state.step}/${stepCount(recipe)}  loss ${(lossSum / since).toFixed(4)}` +
          `  gradient ${result.gradientNorm.toFixed(3)}  ${msPerStep.toFixed(0)} ms/step\n`,
      );
      [lossSum, since, startedMs] = [0, 0, performance.now()];
    }
    if (state.step % CHECKPOINT_STEPS === 0 || state.step === lastStep) {
      saveCheckpoint(checkpoint, state, digest);
    }
  }
  await engine.close();
  return state;
}

function writeModelFolder(folder: string, bpe: Bpe, state: TrainingState): void {
  const sizes = { ...BUNDLED_RECIPE.sizes, d_vocab: bpe.vocab.size };
  const json = (value: unknown) => `${JSON.stringify(value, null, 1)}\n`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.safetensors'), modelFile(sizes, state.parameters));
  writeFileSync(join(folder, 'config.json'), json(configJson(sizes, bpe.endOfText)));
  writeFileSync(join(folder, 'tokenizer.json'), json(tokenizerJson(bpe)));
  writeFileSync(join(folder, 'tokenizer_config.json'), json(tokenizerConfigJson(sizes.n_ctx)));
  process.stdout.write(`wrote ${folder} after ${state.step} steps\n`);
}

await main();
