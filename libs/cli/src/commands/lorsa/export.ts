import { mkdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { dataLoss, invalidArgument, notFound } from '@heddle/core';
import type { ExportResponse } from '@heddle/ports/proto/lorsa';
import type { Command } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { fileError, OutputFile } from '../../arguments/files.ts';
import type { Invocation } from '../../invocation.ts';
import { showBytes, table } from '../../show.ts';

interface ExportOptions {
  readonly out: string;
  readonly fold?: boolean;
}

export function addExport(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('export <checkpoint>')
    .description('write a checkpoint (a job, a folder, a file) in the published format')
    .requiredOption('--out <dir>', 'folder for config.json and sae_weights.safetensors')
    .option('--fold', 'fold the normalisation into the weights, so that they take the host’s units')
    .action((checkpoint: string, options: ExportOptions) =>
      exportCheckpoint(invocation, checkpoint, options),
    );
}

async function exportCheckpoint(
  invocation: Invocation,
  checkpoint: string,
  { out, fold = false }: ExportOptions,
) {
  const folder = await outputFolder(invocation, out);
  const request = { checkpoint: checkpointReference(invocation, checkpoint), fold };
  const files = await invocation.withHeddle({ contracts: ['lorsa'] }, async (heddle) => {
    const parts = heddle.lorsa.Export(request, { signal: invocation.signal });
    return written(invocation, folder, parts);
  });
  const rows = files.map(({ name, bytes }) => [name, showBytes(bytes)]);
  const units = fold ? 'folded: it takes and gives the host’s units' : 'units as in the checkpoint';
  const text = `${table(['file', 'size'], rows)}\nwrote ${folder} (${units})`;
  invocation.print({ out: folder, fold, files }, text);
}

/** The folder, made if its parent is there. */
async function outputFolder(invocation: Invocation, out: string): Promise<string> {
  const folder = resolve(invocation.io.workingDirectory, out);
  const there = await stat(folder).catch(() => undefined);
  if (there !== undefined && !there.isDirectory()) {
    throw invalidArgument(`--out: ${out} is a file; name a folder`, { field: 'out' });
  }
  const parent = await stat(dirname(folder)).catch(() => undefined);
  if (!parent?.isDirectory()) {
    throw notFound(`--out: there is no folder ${dirname(folder)}; make it first`, { field: 'out' });
  }
  return folder;
}

/** Its parent is there: a recursive mkdir would go round for ever where the parent takes no folders (/proc). */
async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder).catch((thrown: unknown) => {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST') return;
    throw fileError(thrown, folder, 'out');
  });
}

interface WrittenFile {
  readonly name: string;
  readonly bytes: number;
}

/** Writes each file of the stream as it comes. Errors: `data_loss` for a stream that is no list of files. */
async function written(
  invocation: Invocation,
  folder: string,
  parts: AsyncIterable<ExportResponse>,
): Promise<readonly WrittenFile[]> {
  const files: WrittenFile[] = [];
  const iterator = parts[Symbol.asyncIterator]();
  let next = await iterator.next();
  while (!next.done) {
    const { file } = next.value;
    if (!file || !/^[\w.-]+$/.test(file.name)) throw dataLoss('the export names no file');
    let left = file.bytes;
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      for (next = await iterator.next(); !next.done; next = await iterator.next()) {
        const { chunk } = next.value;
        if (!chunk) return;
        left -= chunk.length;
        yield chunk;
      }
    };
    await makeFolder(folder);
    const output = await OutputFile.plan(invocation, join(folder, file.name));
    await output.write(chunks());
    if (left !== 0) throw dataLoss(`${file.name} came short of ${left} bytes`);
    files.push(file);
  }
  return files;
}
