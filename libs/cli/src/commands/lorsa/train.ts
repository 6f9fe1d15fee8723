import type { Command } from 'commander';
import { OutputFile } from '../../arguments/files.ts';
import { parseCount, parsePositive, parseSize } from '../../arguments/lists.ts';
import { modelReference } from '../../arguments/model.ts';
import { readTrainingText } from '../../arguments/training-text.ts';
import { runJob } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { facts, showNumber } from '../../show.ts';

interface TrainOptions {
  readonly layer: number;
  readonly corpus?: string;
  readonly heads?: number;
  readonly qkHeads?: number;
  readonly dQkHead?: number;
  readonly topK?: number;
  readonly init?: string;
  readonly steps?: number;
  readonly batch?: number;
  readonly context?: number;
  readonly lr?: number;
  readonly warmup?: number;
  readonly clip?: number;
  readonly seed: number;
  readonly backend?: string;
  readonly out?: string;
  readonly detach?: boolean;
}

export function addTrain(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('train [model]')
    .description('train a replacement of one attention layer')
    .requiredOption('--layer <l>', 'which layer, from 0', parseCount)
    .option('--corpus <file>', 'text or jsonl to train on (default: generated text)')
    .option('--heads <n>', 'OV heads (n_ov_heads)', parseSize)
    .option('--qk-heads <n>', 'QK heads (n_qk_heads)', parseSize)
    .option('--d-qk-head <n>', 'width of a QK head', parseSize)
    .option('--top-k <k>', 'heads active per token', parseSize)
    .option('--init <how>', 'xavier, orig_heads or active_subspace')
    .option('--steps <n>', 'optimiser steps', parseSize)
    .option('--batch <n>', 'sequences per step', parseSize)
    .option('--context <n>', 'tokens per sequence', parseSize)
    .option('--lr <x>', 'learning rate', parsePositive)
    .option('--warmup <n>', 'steps of warm-up', parseSize)
    .option('--clip <x>', 'clip the gradient to this norm', parsePositive)
    .option('--seed <n>', 'same seed, same weights', parseCount, 0)
    .option('--backend <name>', 'graph or sparse')
    .option('--out <file>', 'write the checkpoint')
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((model: string | undefined, options: TrainOptions) =>
      train(invocation, model, options),
    );
}

async function train(invocation: Invocation, model: string | undefined, options: TrainOptions) {
  const file =
    options.out === undefined ? undefined : await OutputFile.plan(invocation, options.out);
  const request = {
    model: modelReference(invocation, model),
    layer: options.layer,
    seed: options.seed,
    backend: options.backend ?? '',
    architecture: {
      n_ov_heads: options.heads,
      n_qk_heads: options.qkHeads,
      d_qk_head: options.dQkHead,
      top_k: options.topK,
      init: options.init,
    },
    optimiser: {
      steps: options.steps,
      batch: options.batch,
      context: options.context,
      learning_rate: options.lr,
      warmup_steps: options.warmup,
      clip_norm: options.clip,
    },
    data: options.corpus === undefined ? null : await readTrainingText(invocation, options.corpus),
  };
  await runJob(invocation, ['activation', 'lorsa'], {
    detach: options.detach ?? false,
    start: (heddle, key) => heddle.lorsa.StartTrain({ ...request, client_key: key }),
    finish: async (heddle, { job, summary, provenance }) => {
      await file?.write(heddle.artifactChunks(job.id, 'checkpoint.safetensors'));
      const rows = Object.entries(summary).map(
        ([name, value]) => [name, showNumber(value)] as const,
      );
      const apply = 'heddle lorsa apply';
      return {
        document: { summary, provenance, ...(file ? { out: file.path } : {}) },
        text: `${facts(rows)}\nuse it: ${apply} ${file?.path ?? job.id} --input F.safetensors --out F`,
      };
    },
  });
}
