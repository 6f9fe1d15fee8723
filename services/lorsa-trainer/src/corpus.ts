import { invalidArgument, type Json } from '@heddle/core';
import { readJsonl } from '@heddle/formats';
import type { Hub } from '@heddle/ports';
import { defaultTexts } from './default-texts.ts';
import { CORPUS_BYTES_MAX } from './limits.ts';
import type { TextOrTokens, TrainRequest } from './train-request.ts';

/**
 * The prompts of a training: those of the request, a corpus file under a root that the hub allows: `.jsonl` with
 * `{"text"}` or `{"tokens"}` per line, any other file one prompt per paragraph (blank line between); and with neither, the
 * text of the bundled model's own tasks. Errors: `invalid_argument` for a file without text; those of the hub.
 */
export async function readCorpus(
  hub: Hub,
  data: TrainRequest['data'],
): Promise<readonly TextOrTokens[]> {
  if (data.prompts.length > 0) return data.prompts;
  if (data.corpus !== '') return fromFile(hub, data.corpus);
  return defaultTexts().map((text) => ({ text }));
}

async function fromFile(hub: Hub, path: string): Promise<readonly TextOrTokens[]> {
  const slash = path.lastIndexOf('/');
  const name = path.slice(slash + 1);
  const folder = await hub.open(slash < 0 ? '.' : path.slice(0, Math.max(1, slash)));
  if (!folder.files.includes(name)) {
    throw invalidArgument(`${folder.path} has no file ${name}`, { field: 'data.corpus' });
  }
  const text = await folder.readText(name, CORPUS_BYTES_MAX);
  const prompts = name.endsWith('.jsonl')
    ? [...readJsonl(name, text)].map(({ line, value }) => promptOf(name, line, value))
    : text
        .split(/\n\s*\n/)
        .filter((part) => part.trim() !== '')
        .map((part) => ({ text: part }));
  if (prompts.length > 0) return prompts;
  throw invalidArgument(`${name} holds no text`, { field: 'data.corpus' });
}

function promptOf(file: string, line: number, value: unknown): TextOrTokens {
  const entry = (typeof value === 'object' && value !== null ? value : {}) as Record<string, Json>;
  const { text, tokens } = entry;
  if (typeof text === 'string' && text !== '') return { text };
  const ids = Array.isArray(tokens) ? tokens : [];
  if (ids.length > 0 && ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0)) {
    return { tokens: ids as number[] };
  }
  throw invalidArgument(`${file} line ${line}: neither "text" nor "tokens"`, {
    field: 'data.corpus',
    details: { line },
  });
}
