import { invalidArgument } from '@heddle/core';
import { readJsonl } from '@heddle/formats';
import type { Init } from '@heddle/ports';
import type { Contrast } from '@heddle/ports/proto/qk';
import { type Command, Option } from 'commander';
import { OutputFile, readText } from '../arguments/files.ts';
import { parseHeads } from '../arguments/lists.ts';
import { modelReference } from '../arguments/model.ts';
import {
  addTokenizeOptions,
  isPlaces,
  type PromptOptions,
  promptFrom,
  tokenizeOptions,
} from '../arguments/prompts.ts';
import { runJob } from '../follow-job.ts';
import type { Invocation } from '../invocation.ts';
import { showNumber, table } from '../show.ts';

interface FitOptions extends PromptOptions {
  readonly contrast: string;
  readonly heads: ReturnType<typeof parseHeads>;
  readonly weighting: 'balanced' | 'paper';
  readonly out?: string;
  readonly detach?: boolean;
}

export function addQk(program: Command, invocation: Invocation): void {
  const qk = program.command('qk').description('query-key subspaces: fit');
  const fit = qk
    .command('fit [model]')
    .description('split QK spaces by contrastive covariance')
    .requiredOption('--contrast <file>', 'contrasts, one JSON document a line; - is stdin')
    .option('--heads <list>', 'all, or 3.0,4.11', parseHeads, [])
    .addOption(
      new Option('--weighting <how>', 'balanced or paper')
        .choices(['balanced', 'paper'])
        .default('balanced'),
    );
  addTokenizeOptions(fit)
    .option('--out <file>', 'write the matrices as safetensors')
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((model: string | undefined, options: FitOptions) => run(invocation, model, options));
}

async function run(invocation: Invocation, model: string | undefined, options: FitOptions) {
  const file =
    options.out === undefined ? undefined : await OutputFile.plan(invocation, options.out);
  const request = {
    model: modelReference(invocation, model),
    contrasts: await readContrasts(invocation, options.contrast),
    heads: options.heads,
    weighting: options.weighting === 'paper' ? 'WEIGHTING_PAPER' : 'WEIGHTING_BALANCED',
    options: tokenizeOptions(options),
  } as const;
  await runJob(invocation, ['activation', 'qk'], {
    detach: options.detach ?? false,
    start: (heddle, key) => heddle.qk.StartFit({ ...request, client_key: key }),
    finish: async (heddle, { job, summary, provenance }) => {
      await file?.write(heddle.artifactChunks(job.id, 'qk.safetensors'));
      return {
        document: { summary, provenance, ...(file ? { out: file.path } : {}) },
        text: textOf(summary, file),
      };
    },
  });
}

interface FittedFeature {
  readonly feature: string;
  readonly head: string;
  readonly rank: number;
  readonly singular_values: readonly number[];
}

function textOf(summary: object, file: OutputFile | undefined): string {
  const { features = [] } = summary as { readonly features?: readonly FittedFeature[] };
  const rows = features.map(({ feature, head, rank, singular_values: values }) => {
    return [feature, head, rank, values.slice(0, 6).map(showNumber).join(' ')];
  });
  const written = file === undefined ? '' : `\nwrote ${file.path}`;
  return `${table(['feature', 'head', 'rank', 'singular values'], rows)}${written}`;
}

/** Lines `{"tokens" | "text", "query": P, "positive": [P…], "negative": [P…], "feature": NAME}`. */
async function readContrasts(invocation: Invocation, path: string): Promise<Init<Contrast>[]> {
  const lines = readJsonl(path, await readText(invocation, path, 'contrast'));
  if (lines.length === 0) throw invalidArgument(`${path} has no contrasts`, { field: 'contrast' });
  return lines.map(({ line, value }) => {
    const prompt = promptFrom(value);
    const { query, positive, negative, feature } = (value ?? {}) as Record<string, unknown>;
    const places = isPlaces([query]) && isPlaces(positive) && isPlaces(negative);
    if (prompt === undefined || !places || typeof feature !== 'string' || feature === '') {
      const wanted = '"text" or "tokens", "query", "positive", "negative" and "feature"';
      const field = `contrast[${line - 1}]`;
      throw invalidArgument(`${path}:${line}: expected ${wanted}`, { field });
    }
    return { feature, prompt, query: query as number, positive, negative };
  });
}
