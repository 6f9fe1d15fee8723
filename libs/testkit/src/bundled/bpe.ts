import { assert, present } from '@heddle/core';
import { BYTE_CHARACTERS, splitWords, toAlphabet } from './byte-level.ts';

export const END_OF_TEXT = '<|endoftext|>';

/** A byte-level BPE: ids by token, and the merges in the order in which they apply. */
export interface Bpe {
  readonly vocab: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly endOfText: number;
}

/** Far more than the closed vocabulary needs; reaching it means that open text got into the corpus. */
const MERGES_MAX = 4_000;

/**
 * Byte-pair encoding learned until every word of `counts` is one token (Sennrich et al. 2016): merges the most frequent
 * neighbours, ties by the smaller pair in code-point order. Ids: 256 bytes in alphabet order, merges, end of text last,
 * as in GPT-2.
 */
export function trainBpe(counts: ReadonlyMap<string, number>): Bpe {
  const words = [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([word, count]) => ({ symbols: Array.from(toAlphabet(word)), count }));
  const vocab = new Map([...BYTE_CHARACTERS].sort().map((character, id) => [character, id]));
  const merges: (readonly [string, string])[] = [];
  for (let best = mostFrequent(words); best !== null; best = mostFrequent(words)) {
    assert(merges.length < MERGES_MAX, 'the vocabulary is not closed');
    merges.push(best);
    const merged = best[0] + best[1];
    if (!vocab.has(merged)) vocab.set(merged, vocab.size);
    for (const word of words) merge(word.symbols, best);
  }
  const endOfText = vocab.size;
  vocab.set(END_OF_TEXT, endOfText);
  return { vocab, merges, endOfText };
}

interface Word {
  readonly symbols: string[];
  readonly count: number;
}

function mostFrequent(words: readonly Word[]): readonly [string, string] | null {
  const pairs = new Map<string, number>();
  for (const { symbols, count } of words) {
    for (let i = 0; i + 1 < symbols.length; i++) {
      const pair = `${symbols[i]} ${symbols[i + 1]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + count);
    }
  }
  let best: string | null = null;
  for (const [pair, count] of pairs) {
    if (best === null || count > pairs.get(best)! || (count === pairs.get(best) && pair < best)) {
      best = pair;
    }
  }
  if (best === null) return null;
  const [left, right] = best.split(' ');
  return [present(left, 'left'), present(right, 'right')];
}

/** Replaces each left-right neighbour by the merged symbol, from the left, in place. */
function merge(symbols: string[], [left, right]: readonly [string, string]): void {
  for (let i = 0; i + 1 < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, left + right);
  }
}

/** Encodes text by the merges; words are remembered, since the training text has few different ones. */
export class BpeEncoder {
  private readonly remembered = new Map<string, readonly number[]>();
  private readonly bpe: Bpe;
  private readonly ranks: ReadonlyMap<string, number>;

  constructor(bpe: Bpe) {
    this.bpe = bpe;
    this.ranks = new Map(bpe.merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
  }

  get d_vocab(): number {
    return this.bpe.vocab.size;
  }

  get endOfText(): number {
    return this.bpe.endOfText;
  }

  encode(text: string): number[] {
    return splitWords(text).flatMap((word) => this.word(word));
  }

  private word(word: string): readonly number[] {
    const known = this.remembered.get(word);
    if (known) return known;
    const symbols = Array.from(toAlphabet(word));
    for (let pair = this.lowest(symbols); pair !== null; pair = this.lowest(symbols)) {
      merge(symbols, pair);
    }
    const ids = symbols.map((symbol) => present(this.bpe.vocab.get(symbol), symbol));
    this.remembered.set(word, ids);
    return ids;
  }

  private lowest(symbols: readonly string[]): readonly [string, string] | null {
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < symbols.length; i++) {
      lowest = Math.min(
        lowest,
        this.ranks.get(`${symbols[i]} ${symbols[i + 1]}`) ?? Number.POSITIVE_INFINITY,
      );
    }
    return this.bpe.merges[lowest] ?? null;
  }
}
