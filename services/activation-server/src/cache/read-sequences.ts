import { createHash } from 'node:crypto';
import {
  type CorpusDocument,
  type CorpusFile,
  DOCUMENT_DIGEST_BYTES,
  readDocuments,
} from '@heddle/formats';
import type { IndexedCorpus } from './corpora.ts';
import { aboutCorpus } from './list-corpus.ts';
import { type CacheTask, type Place, partsOf, type Stretch } from './plan-tasks.ts';

/** Where the next sequence of a task comes from. */
export type Position = {
  readonly stretch: number;
  /** The document that the last sequence came from, of which `done` were taken. */
  readonly place: Place;
  readonly done: number;
  /** Tokens taken of the stretch. */
  readonly used: number;
};

/** A window of a document. */
export interface Sequence {
  readonly ids: readonly number[];
  /** Which of them count in losses. */
  readonly valid: readonly boolean[];
  readonly document: Uint8Array;
  /** Whether it is its document's first. */
  readonly first: boolean;
  /** From where to go on after it. */
  readonly next: Position;
}

export interface ReadOptions {
  readonly context: number;
  /** Token ids of a document; errors name `file`, and the document's line. */
  readonly encode: (document: CorpusDocument, file: string) => readonly number[];
  /** BOS, EOS, padding: keys, but nothing to be learned from. */
  readonly special: ReadonlySet<number>;
}

/**
 * *Sequences of a task, in the order of the corpus*: each document in windows of at most `context` tokens; a window of one token has
 * nothing to attend to and is dropped. From a position that came with a sequence, those after it.
 */
export async function* readSequences(
  corpus: Pick<IndexedCorpus, 'files'>,
  task: CacheTask,
  options: ReadOptions,
  from?: Position,
): AsyncGenerator<Sequence> {
  const parts = partsOf(corpus, task.held_out);
  for (const [index, stretch] of task.stretches.entries()) {
    if (from && index < from.stretch) continue;
    const begun = from?.stretch === index ? from : undefined;
    yield* readStretch({ corpus, parts, stretch, index, options, begun });
  }
}

interface Reading {
  readonly corpus: Pick<IndexedCorpus, 'files'>;
  readonly parts: ReturnType<typeof partsOf>;
  readonly stretch: Stretch;
  readonly index: number;
  readonly options: ReadOptions;
  readonly begun: Position | undefined;
}

async function* readStretch(reading: Reading): AsyncGenerator<Sequence> {
  const { stretch, index, options, begun } = reading;
  const most = stretch.tokens_max === 0 ? Number.POSITIVE_INFINITY : stretch.tokens_max;
  let used = begun?.used ?? 0;
  let document: Place | undefined;
  let done = 0;
  if (used + 2 > most) return;
  for await (const { place, ids, digest } of readIds(reading)) {
    if (place.file !== document?.file || place.at !== document.at) done = 0;
    document = place;
    const skipped =
      begun?.place.file === place.file && begun.place.at === place.at ? begun.done : 0;
    for (let start = 0; start < ids.length; start += options.context) {
      const length = Math.min(
        options.context,
        ids.length - start,
        done < skipped ? Infinity : most - used,
      );
      const window = ids.slice(start, start + length);
      if (window.length < 2) continue;
      done++;
      if (done <= skipped) continue;
      used += window.length;
      const valid = window.map((id) => !options.special.has(id));
      const next = { stretch: index, place, done, used };
      yield { ids: window, valid, document: digest, first: start === 0, next };
      if (used + 2 > most) return;
    }
  }
}

/** The documents of a stretch as ids, over the files that it spans. */
async function* readIds({ corpus, parts, stretch, options, begun }: Reading) {
  const from = begun?.place ?? stretch.from;
  const { to } = stretch;
  for (const part of parts) {
    if (part.file < from.file || part.file > to.file) continue;
    const start = part.file === from.file ? from : part.from;
    const end = part.file === to.file ? to.at : part.end;
    const { listed } = corpus.files[part.file] as IndexedCorpus['files'][number];
    if (start.at >= end) continue;
    const source = await listed.open().catch((thrown: unknown) => {
      throw aboutCorpus(thrown);
    });
    try {
      const file: CorpusFile = { name: listed.name, format: listed.format, source };
      for await (const document of documents(file, { from: start, end })) {
        const place = { file: part.file, at: document.at, line: document.line };
        yield { place, ids: options.encode(document, listed.name), digest: digestOf(document) };
      }
    } finally {
      await source.close();
    }
  }
}

async function* documents(...[file, range]: Parameters<typeof readDocuments>) {
  try {
    yield* readDocuments(file, range);
  } catch (thrown) {
    throw aboutCorpus(thrown);
  }
}

/** Equal for equal text, white space around it aside, or for equal ids. */
function digestOf({ text, tokens }: CorpusDocument): Uint8Array {
  const hash = createHash('sha256');
  if (tokens === undefined) hash.update(text.trim());
  else hash.update(new Uint8Array(Uint32Array.from(tokens).buffer));
  return new Uint8Array(hash.digest().subarray(0, DOCUMENT_DIGEST_BYTES));
}
