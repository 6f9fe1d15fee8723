/**
 * Child of memory-flat.test.ts, alone in its process: 10,000 runs of a two-layer model with hooks and changing lengths, with 200
 * session evictions on the way. Prints `[{runs, rss}, …]`, taken after a full collection each.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadModel, openModelFolder, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { buildSegment, padTokens, planForward, stepFeeds } from '@heddle/models';
import type { LoadedModel, Program } from '@heddle/ports';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';

/** The first ones let every pool find its size; the test looks at the 10,000 behind them. */
const WARM_UP_RUNS = 4000;
const RUNS = WARM_UP_RUNS + 10_000;
const SAMPLE_EVERY = 250;
/** A run of another question, whose sessions push older ones out: 4 of them for each of these. */
const OTHER_EVERY = 75;
const SIZES = { n_layer: 2, n_head: 4, n_embd: 64, vocab_size: 200, n_positions: 128 };

const HOOKS = ['attn.hook_q', 'attn.hook_pattern', 'hook_resid_post'].flatMap((name) => [
  `blocks.0.${name}`,
  `blocks.1.${name}`,
]);
const OTHERS = ['attn.hook_z', 'attn.hook_k', 'attn.hook_v', 'hook_mlp_out', 'hook_attn_out'].map(
  (name) => [`blocks.0.${name}`, `blocks.1.${name}`, 'logits'],
);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function question(model: LoadedModel, hooks: readonly string[]) {
  const forward = planForward(model, { hooks, pos: SIZES.n_positions });
  const programs = forward.steps.map(({ segment, request }) =>
    programOf(model, buildSegment(model, segment, request)),
  );
  return { forward, programs, hooks };
}

async function run(
  engine: OrtEngine,
  model: LoadedModel,
  { forward, programs }: ReturnType<typeof question>,
  rng: Rng,
): Promise<void> {
  const length = 1 + rng.below(SIZES.n_positions);
  const prompt = Array.from({ length }, () => rng.below(SIZES.vocab_size));
  const feeds = stepFeeds(model, forward, { tokens: padTokens(model.config, [prompt]) });
  const sources = [...forward.outputs.values()];
  const outputs = await engine.run({
    steps: programs.map((program: Program, step) => ({
      program,
      feeds: feeds[step] ?? {},
      keep: [...new Set(sources.filter((at) => at.step === step).map(({ output }) => output))],
    })),
  });
  for (const { step, output } of sources) {
    if (!outputs[step]?.[output]?.data.length) throw new Error(`no ${output}`);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'heddle-flat-'));
await writeRandomModel(folder, gpt2Config(SIZES), 1);
const model = await loadModel(await openModelFolder(folder));
const main = question(model, HOOKS);
const others = OTHERS.map((hooks) => question(model, hooks));
// Room for two questions' sessions: a third pushes some out.
const resident = main.programs.reduce((sum, program) => sum + program.residentBytes, 0);
const engine = await OrtEngine.start({ cacheBytes: 2 * resident + 8 * 512 * 1024 });
const rng = new Rng(7);
const samples: { runs: number; rss: number }[] = [];
for (let runs = 1; runs <= RUNS; runs++) {
  await run(engine, model, main, rng);
  const other = others[Math.floor(runs / OTHER_EVERY) % others.length];
  if (runs % OTHER_EVERY === 0 && other) await run(engine, model, other, rng);
  if (runs > WARM_UP_RUNS && runs % SAMPLE_EVERY === 0) {
    collect();
    samples.push({ runs, rss: process.memoryUsage().rss });
  }
}
const { evictions } = await engine.usage();
await engine.close();
rmSync(folder, { recursive: true });
process.stdout.write(JSON.stringify({ samples, evictions }));
