import { basename, resolve } from 'node:path';
import type { Heddle } from '@heddle/client';
import { OperationError, present } from '@heddle/core';
import type { HookPoint, ModelInfo } from '@heddle/ports/proto/activation';
import type { Job } from '@heddle/ports/proto/common';
import type { Command } from 'commander';
import { modelReference } from '../arguments/model.ts';
import { UsageError } from '../exit-status.ts';
import { runJob } from '../follow-job.ts';
import { sendModel } from '../import-model.ts';
import type { Invocation, SessionNeeds } from '../invocation.ts';
import { facts, showBytes, table } from '../show.ts';

const NEEDS: SessionNeeds = { contracts: ['activation'] };

export function addModel(program: Command, invocation: Invocation): void {
  const model = program.command('model').description('models: add, ls, show, hooks, rm');
  model
    .command('add <source>')
    .description(
      'check a HuggingFace folder, or fetch hf:OWNER/NAME[@REVISION], and give it a name',
    )
    .option('--name <name>', "what to call it (default: the folder's name)")
    .option('--detach', 'print the job id and return; the download goes on in the running cluster')
    .addHelpText(
      'after',
      `
A folder is used where it lies. With --server its files are sent, as far as the cluster lacks them, and every replica
opens them; broken off and asked again, only the rest is sent. A model of a hub is pinned to the revision's commit,
checked against the hub's digests, and goes on where it broke off. HF_ENDPOINT and HF_TOKEN are those of the server.`,
    )
    .action((source: string, options: AddOptions) => add(invocation, source, options));
  model
    .command('ls')
    .description('registered models')
    .action(() => list(invocation));
  model
    .command('show [model]')
    .description('family, sizes, digest, memory, ignored fields')
    .action((name?: string) => show(invocation, name));
  model
    .command('hooks [model]')
    .description('every hook point with axes and shape')
    .action((name?: string) => hooks(invocation, name));
  model
    .command('rm <name>')
    .description('forget a name; the files stay')
    .action((name: string) => remove(invocation, name));
}

interface AddOptions {
  readonly name?: string;
  readonly detach?: boolean;
}

async function add(invocation: Invocation, source: string, options: AddOptions) {
  const { name = '', detach } = options;
  if (options.name === '') throw new UsageError('--name is empty: leave it out, or name the model');
  if (source.startsWith('hf:')) {
    return addAsJob(invocation, detach, (heddle) =>
      heddle.activation.StartImportModel({ source, name }),
    );
  }
  const path = resolve(invocation.io.workingDirectory, source);
  if (invocation.server !== undefined) {
    return addAsJob(invocation, detach, async (heddle) => {
      const content = await sendModel(invocation, heddle, path);
      const called = name || basename(path).replace(/[^A-Za-z0-9._-]/g, '-');
      return heddle.activation.StartImportModel({ source: content, name: called });
    });
  }
  const { IMPORT_TIMEOUT_MS } = await import('@heddle/client');
  const { model } = await invocation.withHeddle(NEEDS, (heddle) =>
    heddle.activation.ImportModel(
      { source: path, name },
      { signal: invocation.signal, timeoutMs: IMPORT_TIMEOUT_MS },
    ),
  );
  const info = present(model, 'the imported model');
  invocation.print({ model: documentOf(info) }, describe(info));
}

/** The same source and name are the same job, so that who asks twice, or asks what another asked, waits for one. */
function addAsJob(
  invocation: Invocation,
  detach: boolean | undefined,
  start: (heddle: Heddle) => Promise<{ readonly job: Job | null }>,
) {
  return runJob(invocation, NEEDS.contracts, {
    ...(detach ? { detach } : {}),
    start,
    async finish(heddle, { summary }) {
      const { model } = await heddle.activation.DescribeModel({ model: String(summary['model']) });
      const info = present(model, 'the imported model');
      return { document: { model: documentOf(info) }, text: describe(info) };
    },
  });
}

async function list(invocation: Invocation) {
  const { models } = await invocation.withHeddle(NEEDS, (h) => h.activation.ListModels({}));
  const rows = models.map((m) => [
    m.name,
    m.family,
    m.n_layers,
    m.n_heads,
    m.d_model,
    showBytes(m.weight_bytes),
    fromOf(m),
  ]);
  const head = ['name', 'family', 'n_layers', 'n_heads', 'd_model', 'weights', 'from'];
  invocation.print({ models: models.map(documentOf) }, table(head, rows));
}

async function show(invocation: Invocation, name: string | undefined) {
  const { model } = await invocation.withHeddle(NEEDS, (heddle) =>
    heddle.activation.DescribeModel({ model: modelReference(invocation, name) }),
  );
  const info = present(model, 'the described model');
  invocation.print({ model: documentOf(info) }, describe(info));
}

async function hooks(invocation: Invocation, name: string | undefined) {
  const response = await invocation.withHeddle(NEEDS, (heddle) =>
    heddle.activation.ListHooks({ model: modelReference(invocation, name) }),
  );
  const hooks = response.hooks.filter(({ available }) => available);
  const lacking = response.hooks
    .filter(({ available }) => !available)
    .map(({ name, reason }) => ({ name, reason }));
  const rows = hooks.map((hook) => [hook.name, axesOf(hook), hook.definition]);
  // What a block lacks every block lacks: one line stands for all.
  const reasons = new Map(lacking.map((hook) => [inAnyLayer(hook.name), hook.reason]));
  const text = [
    table(['hook', 'axes', 'definition'], rows),
    ...[...reasons].map(([lacked, reason]) => `no ${lacked}: ${reason}`),
  ];
  const document = { hooks: hooks.map((hook) => ({ ...hook, shape: shapeOf(hook) })), lacking };
  invocation.print(document, text.join('\n'));
}

async function remove(invocation: Invocation, name: string) {
  if (name === '') throw new OperationError({ code: 'invalid_argument', message: 'name is empty' });
  await invocation.withHeddle(NEEDS, (heddle) => heddle.activation.RemoveModel({ name }));
  invocation.print(
    { removed: name },
    `${name} is forgotten; a folder stays as it was, what was imported is freed by ${invocation.heddle} gc`,
  );
}

/** 0 stands for the prompt's length; for people and JSON it is the axis' name. */
function shapeOf({ shape, axes }: HookPoint): (number | string)[] {
  return shape.map((size, i) => (size === 0 ? (axes[i] ?? 'pos') : size));
}

const inAnyLayer = (name: string): string => name.replace(/^blocks\.\d+\./, 'blocks.*.');

const axesOf = (hook: HookPoint) =>
  `[${hook.axes.map((axis, i) => (hook.shape[i] ? `${axis}=${hook.shape[i]}` : axis)).join(', ')}]`;

/** Where a model is from; of what was uploaded, as much of its name as tells it apart. */
function fromOf({ bundled, source, path }: ModelInfo): string {
  if (bundled) return '(bundled)';
  return source.startsWith('content:') ? `uploaded, ${source.slice(0, 27)}…` : source || path;
}

function documentOf(model: ModelInfo) {
  return { ...model };
}

function describe(m: ModelInfo): string {
  return facts([
    ['name', m.name],
    ['family', m.family],
    ...(m.content === '' ? [['path', m.path] as const] : [['source', m.source] as const]),
    // What was uploaded is its own source.
    ...(m.content === '' || m.content === m.source ? [] : [['content', m.content] as const]),
    ['digest', m.digest],
    ['n_layers', m.n_layers],
    ['n_heads', m.n_heads],
    ['n_key_value_heads', m.n_key_value_heads],
    ['d_model', m.d_model],
    ['d_head', m.d_head],
    ['d_mlp', m.d_mlp],
    ['d_vocab', m.d_vocab],
    ['n_ctx', m.n_ctx],
    ['parameters', m.parameters],
    ['weights', `${showBytes(m.weight_bytes)} as ${m.stored_dtype}`],
    ['memory', `${showBytes(m.resident_bytes)} when all of it is loaded, fp32`],
    ['tokenizer', m.tokenizer ? 'tokenizer.json' : 'none: takes token ids only'],
    ['ignored fields', m.ignored_fields.join(', ') || 'none'],
  ]);
}
