import type { Heddle } from '@heddle/client';
import type { Init } from '@heddle/ports';
import type { StartTrainRequest, TopKSchedule } from '@heddle/ports/proto/lorsa';
import { type Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../exit-status.ts';
import type { Invocation } from '../invocation.ts';
import { parseLongSize, parsePlaces, parsePositive, parseSize } from './lists.ts';
import { modelReference } from './model.ts';
import { readTrainingText } from './training-text.ts';

/** What `lorsa train` and `lorsa sweep` have in common. */
export interface TrainingOptions {
  readonly preset?: string;
  readonly corpus?: string;
  readonly tokensMax?: number;
  readonly activations?: string;
  readonly qkHeads?: number;
  readonly dQkHead?: number;
  readonly init?: string;
  readonly signed?: boolean;
  readonly centre?: boolean;
  readonly steps?: number;
  readonly batch?: number;
  readonly context?: number;
  readonly lr?: number;
  readonly warmup?: number;
  readonly decay?: number;
  readonly end?: number;
  readonly clip?: number;
  readonly kSchedule?: Init<TopKSchedule>;
  readonly aux?: number;
  readonly auxK?: number;
  readonly deadAfter?: number;
  readonly checkpointSteps?: number;
  readonly backend?: string;
}

export function addTrainingOptions(command: Command): Command {
  return command
    .option('--preset <name>', 'paper-pythia-160m, paper-llama-3.1-8b or small: the defaults')
    .option('--corpus <path>', 'text, jsonl, parquet or a folder (default: generated text)')
    .option('--tokens-max <n>', 'tokens of the corpus, spread evenly (default: all)', parseLongSize)
    .option('--activations <job>', 'train on what this job has cached instead of text')
    .option('--qk-heads <n>', 'QK heads (n_qk_heads)', parseSize)
    .option('--d-qk-head <n>', 'width of a QK head', parseSize)
    .option('--init <how>', 'xavier, orig_heads or active_subspace')
    .option('--signed', 'heads may be negative (cannot be exported)')
    .option('--centre', 'start every head with mean pre-activation 0')
    .option('--steps <n>', 'optimiser steps', parseSize)
    .option('--batch <n>', 'sequences per step', parseSize)
    .option('--context <n>', 'tokens per sequence', parseSize)
    .option('--lr <x>', 'learning rate', parsePositive)
    .option('--warmup <n>', 'steps of warm-up', parseSize)
    .option('--decay <share>', 'share of the steps in which the rate falls at the end', parseShare)
    .option('--end <share>', 'what is left of the rate at the end', parseShare)
    .option('--clip <x>', 'clip the gradient to this norm', parsePositive)
    .option('--k-schedule <how>', 'SHAPE[:FROM[:STEPS]], K falls: linear:256:500', parseSchedule)
    .option('--aux <x>', 'AuxK: dead heads learn, with this coefficient (1/32)', parseFraction)
    .option('--aux-k <n>', 'dead heads per token (default 512)', parseSize)
    .option('--dead-after <n>', 'tokens of silence after which a head is dead', parseLongSize)
    .option(
      '--checkpoint-steps <n>',
      'steps between checkpoints (default: 50, at least 5 s apart)',
      parseSize,
    )
    .option('--backend <name>', 'graph or sparse');
}

/** The request of these options, but for layer and sizes. */
export async function trainingRequest(
  invocation: Invocation,
  model: string | undefined,
  options: TrainingOptions,
): Promise<Init<StartTrainRequest>> {
  const { corpus, tokensMax: tokens_max, activations } = options;
  const text = corpus === undefined ? {} : await readTrainingText(invocation, corpus);
  if (options.auxK !== undefined && options.aux === undefined) {
    throw new UsageError('--aux-k says how many dead heads AuxK takes: it needs --aux');
  }
  return {
    model: modelReference(invocation, model),
    preset: options.preset,
    backend: options.backend,
    checkpoint_steps: options.checkpointSteps,
    architecture: {
      n_qk_heads: options.qkHeads,
      d_qk_head: options.dQkHead,
      init: options.init,
      signed: options.signed,
      centre_pre_activations: options.centre,
    },
    optimiser: {
      steps: options.steps,
      batch: options.batch,
      context: options.context,
      learning_rate: options.lr,
      warmup_steps: options.warmup,
      clip_norm: options.clip,
      decay_share: options.decay,
      end_share: options.end,
      top_k_schedule: options.kSchedule,
    },
    auxiliary: {
      coefficient: options.aux,
      top_k: options.auxK,
      dead_tokens: options.deadAfter,
    },
    data: { ...text, tokens_max, activations },
  };
}

/** The layer to train when none is named: the middle one, and it is said. */
export async function middleLayer(
  invocation: Invocation,
  heddle: Heddle,
  model: string | undefined,
): Promise<number> {
  const reference = modelReference(invocation, model);
  const { model: info } = await heddle.activation.DescribeModel({ model: reference });
  const layers = info?.n_layers ?? 1;
  const layer = Math.floor(layers / 2);
  invocation.note(`layer ${layer} of ${layers}, counted from 0 (choose with --layer)`);
  return layer;
}

/** `linear`, `linear:256`, `linear:256:500`; which shapes there are, the server knows. */
function parseSchedule(text: string): Init<TopKSchedule> {
  const [shape = '', from, steps, ...more] = text.split(':');
  if (more.length > 0 || shape === '') {
    throw new InvalidArgumentError(`say SHAPE[:FROM[:STEPS]], as in linear:256:500.`);
  }
  return {
    shape,
    from: from === undefined ? undefined : parseSize(from),
    steps: steps === undefined ? undefined : parseSize(steps),
  };
}

/** How many, in a list, where none is no answer: `256,512`. */
export function parseSizes(text: string): number[] {
  const sizes = parsePlaces(text);
  if (sizes[0] === 0) throw new InvalidArgumentError('each is at least 1.');
  return sizes;
}

/** A number greater than 0, also as a fraction: `0.03`, `1/32`. */
function parseFraction(text: string): number {
  const [over, under, ...more] = text.split('/');
  if (more.length > 0) throw new InvalidArgumentError(`'${text}' is no number.`);
  return parsePositive(over ?? '') / (under === undefined ? 1 : parsePositive(under));
}

function parseShare(text: string): number {
  const share = parseFraction(text);
  if (share > 1) throw new InvalidArgumentError(`'${text}' is more than all.`);
  return share;
}
