import { resolve } from 'node:path';
import type { Json } from '@heddle/core';
import type { Init } from '@heddle/ports';
import type { StartCacheActivationsRequest } from '@heddle/ports/proto/activation';
import { type Command, Option } from 'commander';
import { OutputFile } from '../arguments/files.ts';
import { parseLongSize, parsePlaces, parseSize, parseWords } from '../arguments/lists.ts';
import { modelReference } from '../arguments/model.ts';
import { addTokenizeOptions, type PromptOptions, tokenizeOptions } from '../arguments/prompts.ts';
import { readTrainingText } from '../arguments/training-text.ts';
import { UsageError } from '../exit-status.ts';
import { runJob } from '../follow-job.ts';
import type { Invocation } from '../invocation.ts';
import { facts, showBytes, showNumber } from '../show.ts';

interface CacheOptions extends Pick<PromptOptions, 'bos' | 'special'> {
  readonly hooks?: readonly string[];
  readonly layers?: readonly number[];
  readonly corpus: string;
  readonly context?: number;
  readonly tokensMax?: number;
  readonly dtype: 'f32' | 'f16';
  readonly out?: string;
  readonly detach?: boolean;
}

const CACHE_HELP = `
A corpus is a text (paragraphs, short ones joined), a .jsonl ({"text"} or {"tokens"} a line), a .parquet (column text or
tokens), or a folder of them; - is stdin. The last tenth of each file is held out. What was cached before is not
computed again, whoever asked. \`heddle gc\` frees it.`;

export function addActivations(program: Command, invocation: Invocation): void {
  const cache = program
    .command('activations')
    .description('activations of a corpus, kept')
    .command('cache [model]')
    .description('run a corpus through a model once and keep the values at hook points')
    .requiredOption('--corpus <path>', 'text, jsonl, parquet, or a folder of them')
    .option('--hooks <list>', 'names and globs: blocks.*.hook_attn_out', parseWords)
    .option('--layers <list>', 'instead: input and output of attention there: 1,4,7-9', parsePlaces)
    .option('--context <n>', 'tokens per sequence (default: 128)', parseSize)
    .option('--tokens-max <n>', 'so many, spread over the corpus (default: all)', parseLongSize)
    .addOption(new Option('--dtype <type>', 'f32 or f16').choices(['f32', 'f16']).default('f32'));
  addTokenizeOptions(cache)
    .option('--out <file>', 'write the manifest as JSON')
    .option('--detach', 'return at once (needs `heddle up`)')
    .addHelpText('after', CACHE_HELP)
    .action((model: string | undefined, options: CacheOptions) =>
      cacheActivations(invocation, model, options),
    );
}

async function cacheActivations(
  invocation: Invocation,
  model: string | undefined,
  options: CacheOptions,
): Promise<void> {
  const file =
    options.out === undefined ? undefined : await OutputFile.plan(invocation, options.out);
  const request: Init<StartCacheActivationsRequest> = {
    model: modelReference(invocation, model),
    hooks: hooksOf(options),
    ...(await textOf(invocation, options.corpus)),
    context: options.context,
    tokens_max: options.tokensMax,
    dtype: options.dtype === 'f16' ? 'ELEMENT_TYPE_F16' : 'ELEMENT_TYPE_F32',
    options: tokenizeOptions(options),
  };
  await runJob(invocation, ['activation'], {
    detach: options.detach ?? false,
    start: (heddle, key) =>
      heddle.activation.StartCacheActivations({ ...request, client_key: key }),
    finish: async (heddle, { job, summary, provenance }) => {
      await file?.write(heddle.artifactChunks(job.id, 'activations.json'));
      const wrote = file === undefined ? '' : `\nwrote ${file.path}`;
      return {
        document: { summary, provenance, ...(file ? { out: file.path } : {}) },
        text: `${summaryText(summary)}${wrote}`,
      };
    },
  });
}

function hooksOf({ hooks = [], layers = [] }: CacheOptions): readonly string[] {
  const ofLayers = layers.flatMap((layer) => [
    `blocks.${layer}.ln1.hook_normalized`,
    `blocks.${layer}.hook_attn_out`,
  ]);
  if (hooks.length + ofLayers.length > 0) return [...hooks, ...ofLayers];
  throw new UsageError('say what to keep: --hooks or --layers');
}

/** The server reads files by their full path; only what is piped in travels with the request. */
async function textOf(invocation: Invocation, corpus: string) {
  if (corpus !== '-') return { corpus: resolve(invocation.io.workingDirectory, corpus) };
  const { prompts = [] } = await readTrainingText(invocation, corpus);
  return { prompts };
}

function summaryText(summary: Readonly<Record<string, Json>>): string {
  const { sequences, tokens, documents, shards, bytes, held_out_sequences } = summary;
  return facts([
    ['tokens', showNumber(tokens)],
    ['sequences', `${showNumber(sequences)}, ${showNumber(held_out_sequences)} of them held out`],
    ['documents', showNumber(documents)],
    ['kept', `${showBytes(Number(bytes))} in ${showNumber(shards)} shards`],
  ]);
}
