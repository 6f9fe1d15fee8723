import type { Command } from 'commander';
import { parsePlaces } from '../../arguments/lists.ts';
import {
  addTrainingOptions,
  middleLayer,
  parseSizes,
  type TrainingOptions,
  trainingRequest,
} from '../../arguments/training-options.ts';
import { runJob } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { type SweepSummary, showSweep } from '../../show-training.ts';

interface SweepOptions extends TrainingOptions {
  readonly layers?: number[];
  readonly heads?: number[];
  readonly topK?: number[];
  readonly seeds?: number[];
  readonly detach?: boolean;
}

export function addSweep(lorsa: Command, invocation: Invocation): void {
  const command = lorsa
    .command('sweep [model]')
    .description('train every combination on one pass over the text, and compare')
    .option('--layers <list>', 'layers, from 0: 0-3 (default: the middle one)', parsePlaces)
    .option('--heads <list>', 'OV heads: 256,512', parseSizes)
    .option('--top-k <list>', 'heads active per token: 16,32', parseSizes)
    .option('--seeds <list>', 'seeds: 0,1', parsePlaces);
  addTrainingOptions(command)
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((model: string | undefined, options: SweepOptions) =>
      sweep(invocation, model, options),
    );
}

async function sweep(invocation: Invocation, model: string | undefined, options: SweepOptions) {
  const base = await trainingRequest(invocation, model, options);
  const { heads: n_ov_heads, topK: top_k, seeds } = options;
  await runJob(invocation, ['activation', 'lorsa'], {
    detach: options.detach ?? false,
    start: async (heddle, client_key) => {
      const layers = options.layers ?? [await middleLayer(invocation, heddle, model)];
      return heddle.lorsa.StartSweep({ base, layers, n_ov_heads, top_k, seeds, client_key });
    },
    finish: async (_, { summary, provenance }) => ({
      document: { summary, provenance },
      text: showSweep(summary as unknown as SweepSummary),
    }),
  });
}
