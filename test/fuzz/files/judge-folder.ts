import { execFileSync } from 'node:child_process';
import { mkdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { folderHub, loadModel } from '@heddle/adapters/hub';
import { loadTokenizer } from '@heddle/adapters/tokenizers';
import { OperationError } from '@heddle/core';
import type { Engine, ModelFolder } from '@heddle/ports';
import type { FileMutant } from './file-mutants.ts';
import { judgeAnswer } from './judge-answer.ts';

/** What became of one mutant. `outcome` is from a closed set, for the table; `wrong` breaks the promise. */
export interface Judgement {
  readonly outcome: string;
  readonly wrong: boolean;
  readonly text: string;
}

/** Patterns that backtrack without end are stopped after this long; the product's own limit is seconds. */
const ENCODE_TIMEOUT_MS = 200;

const TEXT = "The heddle lifts 12 threads; don't aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! naïve 日本 👩‍🚀";

/** The real way of a folder: on disk, through the hub and the loader, into tokenizer and engine. */
export async function judgeFolder(
  engine: Engine,
  root: string,
  mutant: FileMutant,
): Promise<Judgement> {
  const path = join(root, `mutant`);
  await writeFolder(path, mutant);
  try {
    return await judgeWritten(engine, root, path, mutant);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

async function judgeWritten(
  engine: Engine,
  root: string,
  path: string,
  mutant: FileMutant,
): Promise<Judgement> {
  let folder: ModelFolder;
  try {
    folder = await folderHub({ roots: [root] }).open(path);
    const model = await loadModel(folder);
    const refusal = await judgeTokenizer(folder);
    if (refusal) return refusal;
    if (!mutant.computes) return { outcome: 'tokenizer answers', wrong: false, text: '' };
    const verdict = await judgeAnswer(engine, model, mutant.files);
    const wrong = verdict.kind === 'wrong';
    return { outcome: verdict.kind, wrong, text: wrong ? verdict.text : `error ${verdict.error}` };
  } catch (thrown) {
    return judgeError(thrown);
  }
}

/** Every call on the tokenizer answers, or throws a typed error (which `judgeError` looks at). */
async function judgeTokenizer(folder: ModelFolder): Promise<Judgement | undefined> {
  const tokenizer = await loadTokenizer(folder, ENCODE_TIMEOUT_MS);
  if (!tokenizer) return undefined;
  try {
    for (const addSpecialTokens of [true, false]) {
      const ids = tokenizer.encode(TEXT, { addSpecialTokens });
      const whole = ids.every((id) => Number.isSafeInteger(id) && id >= 0);
      if (!whole) return { outcome: 'no ids', wrong: true, text: `ids ${ids}` };
      const texts = [tokenizer.decode(ids), ...ids.map((id) => tokenizer.token(id))];
      const bad = texts.find((text) => typeof text !== 'string');
      if (bad !== undefined) return { outcome: 'no text', wrong: true, text: `text ${bad}` };
    }
    return undefined;
  } catch (thrown) {
    const { outcome, wrong, text } = judgeError(thrown, ['text', 'tokens']);
    return { outcome, wrong, text };
  }
}

/** Typed, not our own mistake, and it says which file. A text that a tokenizer cannot take is a fault of neither file. */
function judgeError(thrown: unknown, fields: readonly string[] = []): Judgement {
  if (!(thrown instanceof OperationError)) {
    const text = thrown instanceof Error ? `${thrown.stack}` : String(thrown);
    return { outcome: 'untyped error', wrong: true, text };
  }
  const { code, message, field, details } = thrown;
  const where = `${message} ${field} ${JSON.stringify(details)}`;
  const named = /config\.json|tokenizer(?:_config)?\.json|\.safetensors/.test(where);
  const wrong =
    code === 'internal' || code === 'unknown' || !(named || fields.includes(field ?? ''));
  return { outcome: `refused: ${code}`, wrong, text: `${message} (${field})` };
}

async function writeFolder(path: string, { files, special }: FileMutant): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path);
  for (const [name, bytes] of files) {
    const file = join(path, name);
    if (name !== special?.file) {
      await writeFile(file, bytes);
      continue;
    }
    if (special.kind === 'folder') await mkdir(file);
    if (special.kind === 'link') await symlink('/dev/zero', file);
    if (special.kind === 'fifo') execFileSync('mkfifo', [file]);
    if (special.kind === 'sparse') {
      await writeFile(file, bytes);
      await truncate(file, 2 ** 36);
    }
  }
}
