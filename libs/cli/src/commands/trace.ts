import type { Json } from '@heddle/core';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { OutputFile } from '../arguments/files.ts';
import { parseCount, parseLong, parseNumber, parseTargets } from '../arguments/lists.ts';
import { modelReference } from '../arguments/model.ts';
import {
  addPromptOptions,
  type PromptOptions,
  promptsOf,
  tokenizeOptions,
} from '../arguments/prompts.ts';
import { UsageError } from '../exit-status.ts';
import { runJob } from '../follow-job.ts';
import type { Invocation } from '../invocation.ts';
import { showNumber, table } from '../show.ts';

type Targets = ReturnType<typeof parseTargets>;

interface TraceOptions extends PromptOptions {
  readonly dataset?: 'ioi';
  readonly n?: number;
  readonly seed: number;
  readonly target?: Targets;
  readonly versus?: Targets;
  readonly method: 'accpp' | 'sad';
  readonly objective: 'probability' | 'logit';
  readonly threshold?: number | 'dynamic';
  readonly position?: number;
  readonly validate?: boolean;
  readonly out?: string;
  readonly detach?: boolean;
}

export function addTrace(program: Command, invocation: Invocation): void {
  const command = program.command('trace [model]').description('the circuit behind a prediction');
  addPromptOptions(command, { input: false })
    .addOption(new Option('--dataset <name>', 'generated prompts instead').choices(['ioi']))
    .option('--n <count>', 'how many of them', parseCount)
    .option('--seed <n>', 'of the dataset', parseLong, 0)
    .option(
      '--target <tokens>',
      'what to explain: T or T,T; a token is a string or id:N',
      parseTargets,
    )
    .option('--versus <tokens>', 'against what', parseTargets)
    .addOption(choice('--method <name>', ['accpp', 'sad']))
    .addOption(choice('--objective <name>', ['probability', 'logit']))
    .option('--threshold <x>', 'dynamic, or the share of a signal that counts', parseThreshold)
    .option('--position <p>', 'where to start (default: the last)', parseCount)
    .option('--validate', 'also ablate each edge and measure')
    .option('--out <file>', 'write the graph as JSON')
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((model: string | undefined, options: TraceOptions) => run(invocation, model, options));
}

function choice(flags: string, [first = '', ...rest]: readonly string[]): Option {
  return new Option(flags, [first, ...rest].join(' or ')).choices([first, ...rest]).default(first);
}

function parseThreshold(text: string): number | 'dynamic' {
  if (text === 'dynamic') return text;
  const value = parseNumber(text);
  if (value <= 0 || value > 1) throw new InvalidArgumentError('a share lies in (0, 1].');
  return value;
}

async function run(invocation: Invocation, model: string | undefined, options: TraceOptions) {
  const file =
    options.out === undefined ? undefined : await OutputFile.plan(invocation, options.out);
  const { threshold } = options;
  const request = {
    ...(await materialOf(invocation, options)),
    model: modelReference(invocation, model),
    options: tokenizeOptions(options),
    targets: options.target ?? [],
    versus: options.versus ?? [],
    method: options.method === 'sad' ? 'TRACE_METHOD_SAD' : 'TRACE_METHOD_ACCPP',
    objective: options.objective === 'logit' ? 'OBJECTIVE_LOGIT' : 'OBJECTIVE_PROBABILITY',
    threshold: typeof threshold === 'number' ? threshold : undefined,
    position: options.position,
    validate: options.validate ?? false,
  } as const;
  await runJob(invocation, ['activation', 'circuit'], {
    detach: options.detach ?? false,
    start: (heddle, key) => heddle.circuit.StartTrace({ ...request, client_key: key }),
    finish: async (heddle, { job, summary, provenance }) => {
      await file?.write(heddle.artifactChunks(job.id, 'graph.json'));
      return {
        document: { summary, provenance, ...(file ? { out: file.path } : {}) },
        text: `${textOf(summary)}${file === undefined ? '' : `\nwrote ${file.path}`}`,
      };
    },
  });
}

async function materialOf(invocation: Invocation, options: TraceOptions) {
  const { dataset, n, seed, text, tokens } = options;
  if (dataset === undefined) {
    const wanted = 'give --text, --tokens or --dataset';
    if (n !== undefined) throw new UsageError('--n belongs to --dataset');
    return { prompts: await promptsOf(invocation, options, wanted) };
  }
  if (text !== undefined || tokens !== undefined) {
    throw new UsageError('--dataset and --text/--tokens exclude each other');
  }
  return { dataset: { name: dataset, count: n ?? 1, seed } };
}

function textOf(summary: Readonly<Record<string, Json>>): string {
  const graphs = (summary['graphs'] ?? []) as readonly Readonly<Record<string, Json>>[];
  return graphs.map((graph) => graphText(graph)).join('\n\n');
}

const EDGE_HEAD = 'from to weight'.split(' ');

interface StrongEdge {
  readonly from: string;
  readonly to: string;
  readonly weight: number;
}

function graphText(graph: Readonly<Record<string, Json>>): string {
  const strongest = (graph['strongest'] ?? []) as unknown as readonly StrongEdge[];
  const rows = strongest.map(({ from, to, weight }) => [from, to, showNumber(weight)]);
  const size = `${showNumber(graph['nodes'])} nodes, ${showNumber(graph['edges'])} edges`;
  const sum = `value ${showNumber(graph['value'])}, sum of sources ${showNumber(graph['sum'])}`;
  return `prompt ${showNumber(graph['prompt'])}: ${size}; ${sum}\n${table(EDGE_HEAD, rows)}`;
}
