import type { Json } from '@heddle/core';
import type { Command } from 'commander';
import { parseCount, parseHead, parseToken } from '../arguments/lists.ts';
import { modelReference } from '../arguments/model.ts';
import {
  addPromptOptions,
  type PromptOptions,
  promptOf,
  tokenizeOptions,
} from '../arguments/prompts.ts';
import { UsageError } from '../exit-status.ts';
import { runJob } from '../follow-job.ts';
import type { Invocation } from '../invocation.ts';
import { showNumber, table } from '../show.ts';

interface WhyOptions extends PromptOptions {
  readonly head?: ReturnType<typeof parseHead>;
  readonly query?: number;
  readonly key?: number;
  /** True: the most probable one. */
  readonly nextToken?: ReturnType<typeof parseToken> | true;
  readonly top: number;
  readonly detach?: boolean;
}

export function addWhy(program: Command, invocation: Invocation): void {
  const command = program
    .command('why [model]')
    .description('what a score or a logit is made of, source by source');
  addPromptOptions(command, { input: false })
    .option('--head <L.H>', 'the attention head', parseHead)
    .option('--query <p>', 'the position that looks', parseCount)
    .option('--key <p>', 'the position looked at (default: the highest score)', parseCount)
    .option(
      '--next-token [token]',
      'a logit at the last position (default: the highest)',
      parseToken,
    )
    .option('--top <n>', 'how many sources to show', parseCount, 20)
    .option('--detach', 'return at once (needs `heddle up`)')
    .addHelpText(
      'after',
      `
A score is a sum over pairs of a query's and a key's source; each pair is shared equally by its two sides, so that
the contributions of both sides together are the score (--json: "sides" has each side's whole sum, "pairs" the pairs).`,
    )
    .action((model: string | undefined, options: WhyOptions) => run(invocation, model, options));
}

async function run(invocation: Invocation, model: string | undefined, options: WhyOptions) {
  const request = {
    ...questionOf(options),
    model: modelReference(invocation, model),
    prompt: await promptOf(invocation, options),
    options: tokenizeOptions(options),
  };
  await runJob(invocation, ['activation', 'attribution'], {
    detach: options.detach ?? false,
    start: (heddle, key) => heddle.attribution.StartWhy({ ...request, client_key: key }),
    finish: async (_, { summary, provenance }) => ({
      document: { summary, provenance },
      text: textOf(summary, options.top),
    }),
  });
}

function questionOf({ head, query, key, nextToken }: WhyOptions) {
  if (nextToken !== undefined) {
    if (head !== undefined || query !== undefined || key !== undefined) {
      throw new UsageError('--next-token and --head/--query/--key are two questions: ask one');
    }
    return { logit: { token: nextToken === true ? null : nextToken } };
  }
  if (head === undefined || query === undefined) {
    throw new UsageError('ask about a score with --head L.H --query P, or about --next-token');
  }
  return { score: { head, query, key } };
}

interface Source {
  readonly source: string;
  readonly side?: string;
  readonly position?: number;
  readonly contribution: number;
}

function textOf(summary: Readonly<Record<string, Json>>, top: number): string {
  const sources = (summary['sources'] ?? []) as unknown as readonly Source[];
  const rows = sources.slice(0, top).map(({ source, side, position, contribution }) => {
    return [source, side, position, showNumber(contribution)];
  });
  const { value, sum, residual, terms_abs_sum: terms } = summary;
  const closing = `value ${showNumber(value)} = sum of ${sources.length} sources ${showNumber(sum)}`;
  const error = `(difference ${showNumber(residual)}, Σ|terms| ${showNumber(terms)})`;
  return `${table(['source', 'side', 'position', 'contribution'], rows)}\n${closing} ${error}`;
}
