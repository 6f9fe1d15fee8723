import type { CorpusPlace } from '@heddle/formats';
import { BYTES_PER_TOKEN, STRETCH_SEQUENCES_MIN, STRETCHES_MAX, TASKS_MAX } from '../limits.ts';
import type { IndexedCorpus, IndexedFile } from './corpora.ts';

/** A place of a corpus: where in which of its files. Types, not interfaces: they are JSON in the journal. */
export type Place = { readonly file: number; readonly at: number; readonly line: number };

/** A part of one side of a corpus, from its beginning until so many tokens were taken. */
export type Stretch = {
  readonly from: Place;
  /** The next stretch's beginning, or past the last file. */
  readonly to: { readonly file: number; readonly at: number };
  /** 0: all of it. */
  readonly tokens_max: number;
};

/** What one worker does at a time: all of it held out, or nothing. */
export type CacheTask = { readonly held_out: boolean; readonly stretches: readonly Stretch[] };

/** One side of a file. */
export interface Part {
  readonly file: number;
  readonly from: CorpusPlace;
  readonly end: number;
  readonly weight: number;
  readonly marks: readonly CorpusPlace[];
}

/** The sides' parts of a corpus, in its order; empty ones left out. */
export function partsOf(
  { files }: Pick<IndexedCorpus, 'files'>,
  heldOut: boolean,
): readonly Part[] {
  return files.flatMap((file, index) => {
    const part = sideOf(file, heldOut);
    const [first] = part.marks;
    if (first === undefined || part.from.at >= part.end) return [];
    const weight = (file.weight * (part.end - part.from.at)) / Math.max(1, file.size);
    return [{ ...part, file: index, weight }];
  });
}

function sideOf({ marks, heldOut: border, size }: IndexedFile, heldOut: boolean) {
  if (!heldOut) {
    const mine = marks.filter(({ at }) => at < border.at);
    return { from: mine[0] ?? border, end: border.at, marks: mine };
  }
  const mine = marks.filter(({ at }) => at > border.at);
  return { from: border, end: size, marks: border.at < size ? [border, ...mine] : [] };
}

/** Tokens that a corpus will give, about. */
export function estimateTokens(corpus: Pick<IndexedCorpus, 'bytes'>, tokensMax: number): number {
  const all = Math.ceil(corpus.bytes / BYTES_PER_TOKEN);
  return tokensMax > 0 ? Math.min(tokensMax, all) : all;
}

/**
 * *How a pass over a corpus is divided*: each side into stretches of equal weight, and these into tasks. With `tokens_max`, every stretch
 * gives its share of them from its beginning on, so that they are spread over the corpus and not its first pages.
 */
export function planTasks(
  corpus: Pick<IndexedCorpus, 'files' | 'bytes'>,
  { tokens_max, context }: { readonly tokens_max: number; readonly context: number },
  taskTokens: number,
): readonly CacheTask[] {
  const total = estimateTokens(corpus, tokens_max);
  const sides = [false, true].map((heldOut) => ({ heldOut, parts: partsOf(corpus, heldOut) }));
  const weight = sides.reduce((sum, { parts }) => sum + weightOf(parts), 0);
  let spent = 0; // of the weight, so that shares add up whatever was rounded
  return sides.flatMap(({ heldOut, parts }): CacheTask[] => {
    const share = weightOf(parts) / Math.max(1, weight);
    const tasks = Math.min(TASKS_MAX, Math.max(1, Math.ceil((total * share) / taskTokens)));
    const spread = Math.floor((tokens_max * share) / (STRETCH_SEQUENCES_MIN * context));
    const count = tokens_max === 0 ? tasks : Math.max(tasks, Math.min(STRETCHES_MAX, spread));
    const stretches = cut(parts, count).flatMap((stretch): Stretch[] => {
      const before = Math.floor((tokens_max * spent) / Math.max(1, weight));
      spent += stretch.weight;
      const budget = Math.floor((tokens_max * spent) / Math.max(1, weight)) - before;
      if (tokens_max > 0 && budget < 2) return []; // not even one sequence
      return [{ from: stretch.from, to: stretch.to, tokens_max: tokens_max > 0 ? budget : 0 }];
    });
    return groups(stretches, tasks).map((group) => ({ held_out: heldOut, stretches: group }));
  });
}

const weightOf = (parts: readonly Part[]): number =>
  parts.reduce((sum, { weight }) => sum + weight, 0);

/** Parts one after the other, cut at marks into about `count` stretches of equal weight. */
function cut(parts: readonly Part[], count: number) {
  const each = weightOf(parts) / count;
  const starts: { readonly place: Place; readonly before: number }[] = [];
  let before = 0;
  for (const { file, from, end, weight, marks } of parts) {
    const density = weight / (end - from.at);
    for (const mark of [from, ...marks]) {
      const at = before + (mark.at - from.at) * density;
      const next = starts.length * each; // the weight at which the next stretch should begin
      if (starts.length > 0 && at + 1e-6 < next) continue;
      if (starts.length >= count) break;
      const last = starts.at(-1)?.place;
      if (last?.file === file && last.at === mark.at) continue;
      starts.push({ place: { file, at: mark.at, line: mark.line }, before: at });
    }
    before += weight;
  }
  return starts.map(({ place, before: begins }, i) => {
    const next = starts[i + 1];
    const to = next?.place ?? { file: (parts.at(-1)?.file ?? 0) + 1, at: 0 };
    return {
      from: place,
      to: { file: to.file, at: to.at },
      weight: (next?.before ?? before) - begins,
    };
  });
}

/** Neighbours in about equal numbers; none empty. */
function groups<T>(items: readonly T[], count: number): readonly (readonly T[])[] {
  const used = Math.min(count, items.length);
  return Array.from({ length: used }, (_, i) =>
    items.slice(Math.floor((i * items.length) / used), Math.floor(((i + 1) * items.length) / used)),
  );
}
