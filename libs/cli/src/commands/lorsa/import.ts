import type { Command } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { modelReference } from '../../arguments/model.ts';
import { readTrainingText } from '../../arguments/training-text.ts';
import { UsageError } from '../../exit-status.ts';
import { runJob } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { facts, showNumber } from '../../show.ts';

interface ImportOptions {
  readonly model?: string;
  readonly text: readonly string[];
  readonly corpus?: string;
  readonly detach?: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function addImport(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('import <checkpoint>')
    .description(
      'take in a published checkpoint (a folder or its safetensors), checked on its host',
    )
    .option('--model <model>', 'its host (default: the one that the file names, else the bundled)')
    .option('--text <text>', 'text to check it on (repeatable)', collect, [])
    .option('--corpus <file>', 'the same from a file (default: generated text)')
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((checkpoint: string, options: ImportOptions) =>
      importCheckpoint(invocation, checkpoint, options),
    );
}

async function importCheckpoint(
  invocation: Invocation,
  checkpoint: string,
  { model, text, corpus, detach = false }: ImportOptions,
) {
  if (text.length > 0 && corpus !== undefined) {
    throw new UsageError('--text and --corpus both name text; give one');
  }
  const request = {
    checkpoint: checkpointReference(invocation, checkpoint),
    // Unlike elsewhere, no model named is not the bundled one: the file may know its host.
    model: model === undefined ? '' : modelReference(invocation, model),
    data:
      corpus === undefined
        ? { prompts: text.map((each) => ({ text: each })) }
        : await readTrainingText(invocation, corpus),
  };
  await runJob(invocation, ['activation', 'lorsa'], {
    detach,
    start: (heddle, key) => heddle.lorsa.StartImport({ ...request, client_key: key }),
    finish: async (_heddle, { job, summary, provenance }) => ({
      document: { summary, provenance },
      text: describeImport(job.id, summary, invocation.heddle),
    }),
  });
}

/** What was taken in, how it was read and why, and what to do with it. */
export function describeImport(
  id: string,
  summary: Readonly<Record<string, unknown>>,
  heddle = 'heddle',
): string {
  const of = (name: string) => showNumber(summary[name]);
  const chosen = String(summary['normalisation']);
  const fits = Object.entries(summary).flatMap(([name, value]) => {
    const reading = /^fvu_(.+)$/.exec(name)?.[1]?.replace('_', '-');
    if (reading === undefined) return [];
    const read = reading === 'inference' ? 'inference (folded)' : reading;
    const mark = reading === chosen ? '  <- how it is read' : '';
    return [[`FVU as ${read}`, `${showNumber(value)}${mark}`] as const];
  });
  const decisions = Array.isArray(summary['decisions']) ? summary['decisions'] : [];
  const heads = `${of('heads')} on ${of('qk_heads')} shared, ${of('activation')}, K ${of('top_k')}`;
  const rows = facts([
    ['job', id],
    ['host', `${summary['model'] || 'the bundled model'}, layer ${of('layer')}`],
    ['reads', of('hook_in')],
    ['writes', of('hook_out')],
    ['heads', heads],
    ...fits,
    ['L0', of('l0')],
    ['checked on', `${of('tokens')} tokens`],
  ]);
  const decided = decisions.map((text) => `\ndecided: ${text}`).join('');
  return `${rows}${decided}\nuse it as a training's: ${heddle} lorsa eval ${id}, ${heddle} lorsa apply ${id} --input F.safetensors --out F`;
}
