import type { Heddle } from '@heddle/client';
import { type Json, OperationError } from '@heddle/core';
import type { Init } from '@heddle/ports';
import type { StartAnalysisRequest } from '@heddle/ports/proto/lorsa';
import type { Command } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { parseLong, parseSize } from '../../arguments/lists.ts';
import { modelReference } from '../../arguments/model.ts';
import { readTrainingText } from '../../arguments/training-text.ts';
import { followJob, runJob, started } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { facts, showNumber } from '../../show.ts';

interface AnalyseOptions {
  readonly model?: string;
  readonly corpus?: string;
  readonly samples?: number;
  readonly quantileSamples?: number;
  readonly baseline?: boolean;
  readonly seed: number;
  readonly detach?: boolean;
}

export function addAnalyse(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('analyse <run>')
    .description('look at every head of a checkpoint, over text that did not train it')
    .option('--model <model>', 'the host (default: the one that it was trained on)')
    .option('--corpus <file>', "text to look at (default: the training's held-out part)")
    .option('--samples <n>', 'top activations kept per head (default: 8)', parseSize)
    .option('--quantile-samples <n>', 'further ones from the lower quantiles', parseSize)
    .option('--baseline', 'also score the rules of a TopK SAE of the same width')
    .option('--seed <n>', 'which samples of the lower quantiles', parseLong, 0)
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((run: string, options: AnalyseOptions) => analyse(invocation, run, options));
}

async function analyse(invocation: Invocation, run: string, options: AnalyseOptions) {
  const { corpus } = options;
  const request: Init<StartAnalysisRequest> = {
    checkpoint: checkpointReference(invocation, run),
    model: modelReference(invocation, options.model),
    data: corpus === undefined ? null : await readTrainingText(invocation, corpus),
    samples: options.samples,
    quantile_samples: options.quantileSamples,
    baseline: options.baseline,
    seed: options.seed,
  };
  await runJob(invocation, ['activation', 'lorsa'], {
    detach: options.detach ?? false,
    start: (heddle, key) => heddle.lorsa.StartAnalysis({ ...request, client_key: key }),
    finish: async (_, { summary, provenance }) => {
      const rows = Object.entries(summary).map(([name, value]) => [name, inWords(value)] as const);
      const next = `${invocation.heddle} lorsa heads ${run}`;
      return { document: { summary, provenance }, text: `${facts(rows)}\nsee: ${next}` };
    },
  });
}

/** `induction 3, sink 1` for a figure by name; - for none. */
function inWords(value: Json): string {
  if (typeof value !== 'object' || value === null) return value === '' ? '-' : showNumber(value);
  const parts = Object.entries(value).filter(([, each]) => each !== 0);
  const words = parts.map(([name, each]) => `${name.replaceAll('_', ' ')} ${showNumber(each)}`);
  return words.length === 0 ? '-' : words.join(', ');
}

/**
 * What was asked about a checkpoint's heads; when nobody has looked at it yet, its analysis is run first, with progress.
 * Errors: those of the question and of the analysis.
 */
export async function lookedAt<T>(
  invocation: Invocation,
  heddle: Heddle,
  checkpoint: string,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (thrown) {
    if (OperationError.from(thrown).details['missing'] !== 'analysis') throw thrown;
  }
  const id = started(await heddle.lorsa.StartAnalysis({ checkpoint }));
  invocation.note(`nobody has looked at ${checkpoint} yet: doing it now (job ${id})`);
  await followJob(invocation, heddle, id);
  return ask();
}
