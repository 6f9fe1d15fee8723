import { present } from '@heddle/core';
import type { Job } from '@heddle/ports/proto/common';
import type { Command } from 'commander';
import { OutputFile } from '../arguments/files.ts';
import { parseCount } from '../arguments/lists.ts';
import { UsageError } from '../exit-status.ts';
import { followJob } from '../follow-job.ts';
import type { Invocation, SessionNeeds } from '../invocation.ts';
import { facts, showBytes, showNumber, showTime, table } from '../show.ts';

const NEEDS: SessionNeeds = { contracts: ['jobs'] };
/** A job only goes on where the service of its kind runs. */
const ALL: SessionNeeds = {
  contracts: ['jobs', 'activation', 'lorsa', 'qk', 'circuit', 'attribution'],
};

export function addJob(program: Command, invocation: Invocation): void {
  const job = program
    .command('job')
    .description('jobs: ls, show, watch, cancel, pause, resume, result');
  job
    .command('ls')
    .description('newest first')
    .option('--limit <n>', 'at most so many', parseCount, 100)
    .action(({ limit }: { limit: number }) => list(invocation, limit));
  job
    .command('show <id>')
    .description('state, progress, request, error')
    .action((id: string) => show(invocation, id));
  job
    .command('watch <id>')
    .description('follow it to its end; Ctrl-C leaves it running')
    .action((id: string) => watch(invocation, id));
  for (const [verb, call] of [
    ['cancel', 'Cancel'],
    ['pause', 'Pause'],
    ['resume', 'Resume'],
  ] as const) {
    job
      .command(`${verb} <id>`)
      .description(`${verb} it`)
      .action((id: string) => command(invocation, id, call));
  }
  job
    .command('result <id>')
    .description('what it found; --out writes one of its files')
    .option('--artifact <name>', 'which of its files (default: the only one)')
    .option('--out <file>', 'write the file there')
    .action((id: string, options: ResultOptions) => result(invocation, id, options));
}

const stateOf = (job: Job): string => job.state.replace('JOB_STATE_', '').toLowerCase();

function jobDocument(job: Job) {
  return {
    ...job,
    state: stateOf(job),
    request: parsed(job.request_json),
    request_json: undefined,
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text === '' ? null : text; // Shown cut off.
  }
}

async function list(invocation: Invocation, limit: number) {
  if (limit < 1 || limit > 1000) throw new UsageError('--limit takes 1 to 1000');
  const { jobs, more } = await invocation.withHeddle(NEEDS, (h) => h.jobs.List({ limit }));
  const rows = jobs.map((job) => [
    job.id,
    job.kind,
    stateOf(job),
    progressOf(job),
    showTime(job.created_ms),
  ]);
  const text = table(['id', 'kind', 'state', 'progress', 'created'], rows);
  const document = { jobs: jobs.map(jobDocument), more };
  invocation.print(document, jobs.length === 0 ? 'no jobs' : text);
}

const progressOf = ({ progress }: Job) =>
  progress ? `${showNumber(progress.done)}/${showNumber(progress.total)} ${progress.unit}` : '';

async function show(invocation: Invocation, id: string) {
  const response = await invocation.withHeddle(NEEDS, (heddle) => heddle.jobs.Get({ id }));
  const job = present(response.job, 'the job');
  invocation.print({ job: jobDocument(job) }, describe(job));
}

function describe(job: Job): string {
  return facts([
    ['id', job.id],
    ['kind', job.kind],
    ['state', stateOf(job)],
    ['progress', `${progressOf(job)} ${job.progress?.message ?? ''}`.trim()],
    ...(job.waits_for === '' ? [] : [['waits', job.waits_for] as const]),
    ['created', showTime(job.created_ms)],
    ['updated', showTime(job.updated_ms)],
    ['retries', job.retries],
    ...(job.checkpoints_lost > 0 ? [['damaged checkpoints', job.checkpoints_lost] as const] : []),
    ['pinned', job.pinned],
    ['error', job.error === null ? '' : `${job.error.code}: ${job.error.message}`],
    ['request', job.request_json.slice(0, 500)],
  ]);
}

async function watch(invocation: Invocation, id: string) {
  await invocation.withHeddle(ALL, async (heddle) => {
    const { job } = await heddle.jobs.Get({ id });
    const done = await followJob(invocation, heddle, present(job, 'the job').id, { cancel: false });
    invocation.print({ job: jobDocument(done) }, describe(done));
  });
}

async function command(invocation: Invocation, id: string, call: 'Cancel' | 'Pause' | 'Resume') {
  const response = await invocation.withHeddle(NEEDS, (heddle) => heddle.jobs[call]({ id }));
  const job = present(response.job, 'the job');
  invocation.print({ job: jobDocument(job) }, `${job.id} is ${stateOf(job)}`);
}

interface ResultOptions {
  readonly artifact?: string;
  readonly out?: string;
}

async function result(invocation: Invocation, id: string, { artifact, out }: ResultOptions) {
  const file = out === undefined ? undefined : await OutputFile.plan(invocation, out);
  await invocation.withHeddle(NEEDS, async (heddle) => {
    const { job, summary, artifacts, provenance } = await heddle.outcome(id);
    let written: string | undefined;
    if (file !== undefined) {
      const name = artifact ?? artifacts[0]?.name;
      const ambiguous = artifact === undefined && artifacts.length !== 1;
      if (name === undefined || ambiguous) {
        const names = artifacts.map((a) => a.name).join(', ') || 'none';
        throw new UsageError(`--out: say which file with --artifact; there are: ${names}`);
      }
      await file.write(heddle.artifactChunks(job.id, name));
      written = file.path;
    }
    const rows = artifacts.map((a) => [a.name, showBytes(a.bytes), a.media_type, a.digest]);
    const files = rows.length ? `\n${table(['file', 'size', 'type', 'digest'], rows)}` : '';
    invocation.print(
      {
        job: jobDocument(job),
        summary,
        artifacts,
        provenance,
        ...(written ? { out: written } : {}),
      },
      `${JSON.stringify(summary, null, 2)}${files}`,
    );
  });
}
