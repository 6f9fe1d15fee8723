import type { CollectedRun, Heddle } from '@heddle/client';
import type { Init } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import { type Command, Option } from 'commander';
import { OutputFile } from '../arguments/files.ts';
import { readInterventions } from '../arguments/interventions.ts';
import { parsePlaces, parseWords } from '../arguments/lists.ts';
import { modelReference } from '../arguments/model.ts';
import {
  addPromptOptions,
  type PromptOptions,
  promptsOf,
  tokenizeOptions,
} from '../arguments/prompts.ts';
import { UsageError } from '../exit-status.ts';
import type { Invocation } from '../invocation.ts';
import { runFile } from '../run-file.ts';
import { showBytes, showNumber, showShape, table } from '../show.ts';
import { describeTensor } from '../tensor-summary.ts';

interface RunOptions extends PromptOptions {
  readonly hooks: readonly string[];
  readonly positions?: readonly number[];
  readonly intervene?: string;
  readonly gradient?: string;
  readonly dtype: 'f32' | 'f16';
  readonly out?: string;
}

/** The grammar's one public description; `readTarget` of the models room reads it. */
const GRADIENT_HELP = `
The scalar of --gradient is a sum of terms, each with an optional factor:
  logit[POS, TOKEN]      a logit: 'logit[-1, " Mary"] - logit[-1, " John"]'
  logprob[POS, TOKEN]    a log probability: '0.5 * logprob[4, id:318]'
  HOOK[INDEX, ...]       an entry of a hook point, one index for each of its axes (heddle model hooks):
                         'blocks.3.attn.hook_attn_scores[5, -1, 2]' (head, query, key)
A TOKEN is text in quotes that is one token, or id:N. Negative positions count from the end of each prompt.
The gradient at a hook says how the scalar changes as something is added there; it has the hook's name and shape.
At a hook that comes after everything that the scalar reads it is zero.`;

export function addRun(program: Command, invocation: Invocation): void {
  const command = program
    .command('run [model]')
    .description('activations at hook points')
    .requiredOption('--hooks <list>', 'names and globs: blocks.*.attn.hook_pattern', parseWords);
  addPromptOptions(command, { input: true })
    .option('--positions <list>', 'only these positions: 1,4,7-9', parsePlaces)
    .option('--intervene <file>', 'interventions, a JSON list; - is stdin')
    .option('--gradient <expression>', 'gradients of a scalar there, instead of values; see below')
    .addOption(new Option('--dtype <type>', 'f32 or f16').choices(['f32', 'f16']).default('f32'))
    .option('--out <file>', 'write a safetensors file')
    .addHelpText('after', GRADIENT_HELP)
    .action((model: string | undefined, options: RunOptions) => run(invocation, model, options));
}

async function run(invocation: Invocation, model: string | undefined, options: RunOptions) {
  const file =
    options.out === undefined ? undefined : await OutputFile.plan(invocation, options.out);
  const request = await requestOf(invocation, model, options);
  const collected = await invocation.withHeddle({ contracts: ['activation'] }, (heddle: Heddle) =>
    heddle.collectRun(request, { signal: invocation.signal }),
  );
  const bytes = await file?.write(runFile(collected));
  const written = file === undefined ? {} : { out: file.path, bytes };
  const saved = file === undefined ? '' : `\nwrote ${file.path} (${showBytes(bytes ?? 0)})`;
  const values = file === undefined;
  invocation.print(
    { ...documentOf(collected, values), ...written },
    `${tableOf(collected)}${saved}`,
  );
}

async function requestOf(
  invocation: Invocation,
  model: string | undefined,
  options: RunOptions,
): Promise<Init<RunRequest>> {
  const { hooks, positions = [], intervene, gradient = '', dtype } = options;
  if (options.gradient?.trim() === '') throw new UsageError('--gradient is empty: name a scalar');
  const tokenize = tokenizeOptions(options);
  const prompts = await promptsOf(invocation, options, 'give --text, --tokens or --input');
  return {
    model: modelReference(invocation, model),
    prompts,
    options: tokenize,
    hooks,
    positions,
    dtype: dtype === 'f16' ? 'ELEMENT_TYPE_F16' : 'ELEMENT_TYPE_F32',
    interventions: intervene === undefined ? [] : await readInterventions(invocation, intervene),
    gradient,
  };
}

function documentOf({ start, tensors, end }: CollectedRun, values: boolean) {
  return {
    prompts: start.prompts.map(({ id, tokens }) => ({ id, tokens: tokens?.ids ?? [] })),
    hooks: start.hooks,
    tensors: tensors.map(({ label, tensor }) => ({
      key: `p${label.prompt}/${label.name}`,
      axes: label.axes,
      ...describeTensor(tensor, values),
    })),
    provenance: end.provenance,
  };
}

function tableOf({ tensors }: CollectedRun): string {
  const rows = tensors.map(({ label, tensor }) => {
    const { min, mean, max } = describeTensor(tensor, false);
    const shape = `${label.axes.join(' ')} ${showShape(tensor.shape)}`;
    return [
      `p${label.prompt}`,
      label.name,
      shape,
      showNumber(min),
      showNumber(mean),
      showNumber(max),
    ];
  });
  return table(['prompt', 'hook', 'shape', 'min', 'mean', 'max'], rows);
}
