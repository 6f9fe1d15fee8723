import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { notFound } from '@heddle/core';
import type { Safetensors } from '@heddle/formats';
import { writeSafetensors } from '@heddle/formats';
import type { LabelledTensor } from '@heddle/ports';
import type { Command } from 'commander';
import { OutputFile, readTensors } from '../arguments/files.ts';
import { parseCount, parsePositive, parseSize } from '../arguments/lists.ts';
import { modelReference } from '../arguments/model.ts';
import { readTrainingText } from '../arguments/training-text.ts';
import { UsageError } from '../exit-status.ts';
import { runJob } from '../follow-job.ts';
import type { Invocation } from '../invocation.ts';
import { facts, jsonText, showNumber, showShape, table } from '../show.ts';

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

export function addLorsa(program: Command, invocation: Invocation): void {
  const lorsa = program.command('lorsa').description('low-rank sparse attention: train, apply');
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
  lorsa
    .command('apply <checkpoint>')
    .description('a checkpoint on given activations, without a host model')
    .requiredOption('--input <file>', 'safetensors with [pos, d_model] or [batch, pos, d_model]')
    .requiredOption('--out <file>', 'write feature_acts and reconstruction')
    .option('--key <name>', 'the tensor to read (default: x, or the only one)')
    .option(
      '--target-key <name>',
      "the layer's output, where the normalisation needs it (default: y)",
    )
    .option('--z-pattern', 'also write z_pattern')
    .option('--pattern', 'also write pattern')
    .action((checkpoint: string, options: ApplyOptions) => apply(invocation, checkpoint, options));
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

interface ApplyOptions {
  readonly input: string;
  readonly key?: string;
  readonly targetKey?: string;
  readonly zPattern?: boolean;
  readonly pattern?: boolean;
  readonly out: string;
}

async function apply(invocation: Invocation, checkpoint: string, options: ApplyOptions) {
  const file = await OutputFile.plan(invocation, options.out);
  const tensors = await readTensors(invocation, options.input, 'input');
  const inputs = inputsOf(tensors, options);
  const start = {
    checkpoint: checkpointReference(invocation, checkpoint),
    z_pattern: options.zPattern ?? false,
    pattern: options.pattern ?? false,
  };
  const applied = await invocation.withHeddle({ contracts: ['lorsa'] }, (heddle) =>
    heddle.applyLorsa(start, inputs, { signal: invocation.signal }),
  );
  const outputs = applied.tensors.map(({ label, tensor }) => [label.name, tensor] as const);
  const { provenance } = applied.end;
  const metadata = { heddle: jsonText({ checkpoint: start.checkpoint, ...provenance }) };
  await file.write(writeSafetensors(Object.fromEntries(outputs), metadata));
  const { l0, fvu = null } = applied.end;
  const shapes = outputs.map(([name, tensor]) => ({ name, shape: tensor.shape }));
  const rows = shapes.map(({ name, shape }) => [name, showShape(shape)]);
  const measured = `L0 ${showNumber(l0)}${fvu === null ? '' : `, FVU ${showNumber(fvu)}`}`;
  invocation.print(
    { out: file.path, tensors: shapes, l0, fvu, provenance },
    `${table(['tensor', 'shape'], rows)}\n${measured}; wrote ${file.path}`,
  );
}

/** A path by its full name where there is one; else a job's id. */
function checkpointReference(invocation: Invocation, checkpoint: string): string {
  const path = resolve(invocation.io.workingDirectory, checkpoint);
  return /[/\\.]/.test(checkpoint) || existsSync(path) ? path : checkpoint;
}

function inputsOf(tensors: Safetensors, { input, key, targetKey }: ApplyOptions): LabelledTensor[] {
  const names = tensors.names();
  const chosen = key ?? (names.length === 1 ? names[0] : 'x');
  if (chosen === undefined || !names.includes(chosen)) {
    const there = names.slice(0, 10).join(', ');
    throw notFound(`${input} has no tensor ${chosen}: name one with --key; there are: ${there}`, {
      field: 'key',
    });
  }
  if (chosen === targetKey) throw new UsageError('--key and --target-key name the same tensor');
  const labelled = (name: string, from: string): LabelledTensor => {
    const tensor = tensors.tensor(from);
    return { label: { name, prompt: 0, axes: [] }, tensor };
  };
  const inputs = [labelled('input', chosen)];
  if (targetKey !== undefined) inputs.push(labelled('target', targetKey));
  else if (chosen !== 'y' && names.includes('y')) inputs.push(labelled('target', 'y'));
  return inputs;
}
