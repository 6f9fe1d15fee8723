import type { Json } from '@heddle/core';
import type { Command } from 'commander';
import { OutputFile } from '../../arguments/files.ts';
import { parseLong } from '../../arguments/lists.ts';
import { runJob } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { facts, showNumber } from '../../show.ts';

interface BaselineOptions {
  readonly seed: number;
  readonly out?: string;
  readonly detach?: boolean;
}

/** The file of the autoencoder, as SAELens names it. */
const WEIGHTS = 'sae_weights.safetensors';

export function addBaseline(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('baseline <run>')
    .description("train a TopK SAE on the layer's output: width, K, text and steps of the training")
    .option('--seed <n>', 'same seed, same weights', parseLong, 0)
    .option('--out <file>', `write the weights (${WEIGHTS}, its cfg.json in the metadata)`)
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((run: string, options: BaselineOptions) => baseline(invocation, run, options));
}

async function baseline(invocation: Invocation, run: string, options: BaselineOptions) {
  const { out, seed } = options;
  const file = out === undefined ? undefined : await OutputFile.plan(invocation, out);
  await runJob(invocation, ['activation', 'lorsa'], {
    detach: options.detach ?? false,
    start: (heddle, client_key) =>
      heddle.lorsa.StartBaseline({ checkpoint: run, seed, client_key }),
    finish: async (heddle, { job, summary, provenance }) => {
      await file?.write(heddle.artifactChunks(job.id, WEIGHTS));
      const rows = Object.entries(summary).map(([name, value]) => [name, inWords(value)] as const);
      return {
        document: { summary, provenance, ...(file ? { out: file.path } : {}) },
        text: `${facts(rows)}\ncompare: ${invocation.heddle} lorsa eval ${run} --baseline`,
      };
    },
  });
}

/** `0.002: 0.061, 0.006: 0.018` for the rates that were tried with the FVU that each left. */
function inWords(value: Json): string {
  if (!Array.isArray(value)) return value === '' ? '-' : showNumber(value);
  // The only list in a baseline's summary is the rates that were tried.
  const tried = value as unknown as readonly {
    readonly rate: number;
    readonly fvu: number | null;
  }[];
  return tried.map(({ rate, fvu }) => `${showNumber(rate)}: ${showNumber(fvu)}`).join(', ');
}
