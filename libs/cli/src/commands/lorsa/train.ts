import type { Command } from 'commander';
import { OutputFile } from '../../arguments/files.ts';
import { parseCount, parseLong, parseSize } from '../../arguments/lists.ts';
import {
  addTrainingOptions,
  middleLayer,
  type TrainingOptions,
  trainingRequest,
} from '../../arguments/training-options.ts';
import { runJob } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { showTraining, type TrainSummary } from '../../show-training.ts';

interface TrainOptions extends TrainingOptions {
  readonly layer?: number;
  readonly heads?: number;
  readonly topK?: number;
  readonly seed: number;
  readonly out?: string;
  readonly detach?: boolean;
}

export function addTrain(lorsa: Command, invocation: Invocation): void {
  const command = lorsa
    .command('train [model]')
    .description('train a replacement of one attention layer')
    .option('--layer <l>', 'which layer, from 0 (default: the middle one)', parseCount)
    .option('--heads <n>', 'OV heads (n_ov_heads)', parseSize)
    .option('--top-k <k>', 'heads active per token', parseSize)
    .option('--seed <n>', 'same seed, same weights', parseLong, 0);
  addTrainingOptions(command)
    .option('--out <file>', 'write the checkpoint')
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((model: string | undefined, options: TrainOptions) =>
      train(invocation, model, options),
    );
}

async function train(invocation: Invocation, model: string | undefined, options: TrainOptions) {
  const file =
    options.out === undefined ? undefined : await OutputFile.plan(invocation, options.out);
  const request = await trainingRequest(invocation, model, options);
  const { heads: n_ov_heads, topK: top_k, seed } = options;
  const architecture = { ...request.architecture, n_ov_heads, top_k };
  await runJob(invocation, ['activation', 'lorsa'], {
    detach: options.detach ?? false,
    start: async (heddle, client_key) => {
      const layer = options.layer ?? (await middleLayer(invocation, heddle, model));
      return heddle.lorsa.StartTrain({ ...request, layer, seed, architecture, client_key });
    },
    finish: async (heddle, { job, summary, provenance }) => {
      await file?.write(heddle.artifactChunks(job.id, 'checkpoint.safetensors'));
      return {
        document: { summary, provenance, ...(file ? { out: file.path } : {}) },
        // A summary is JSON on the wire; its fields are those of the job's kind.
        text: showTraining(
          job.id,
          summary as unknown as TrainSummary,
          file?.path,
          invocation.heddle,
        ),
      };
    },
  });
}
