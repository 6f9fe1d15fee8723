import { assert, Rng } from '@heddle/core';
import { tensor } from '@heddle/tensor';
import { auroc, type MeanInterval, meanInterval } from './auroc.ts';
import { encodeBlob, openTensors } from './blob.ts';
import { type HeadRule, ruleRatios, scoreSequence } from './head-rule.ts';
import { forEachActive, type HeadSequence } from './head-sequence.ts';
import { AUROC_ACTIVE_MIN, HELD_OUT_TOKENS_MAX } from './limits.ts';

const FORMAT = 'heddle.heads.text/1';

/**
 * *The text on which rules are scored*: its tokens, and for each head the valid tokens on which it was active. Exact areas need all of
 * them, so it holds whole sequences up to a limit and says when it is full. Feed it in the order of the text: the same order, the same text.
 */
export class HeldOutText {
  readonly heads: number;
  readonly tokensMax: number;
  /** Valid tokens held. */
  tokens = 0;
  /** Every word of the text, in the order of its first sight, and its place there. */
  private readonly words: number[] = [];
  private readonly places = new Map<number, number>();
  /** Words by their place, and for each position its number among the valid ones, or -1. */
  private readonly texts: { readonly tokens: Int32Array; readonly numbers: Int32Array }[] = [];
  /** For each head the numbers of the tokens on which it was active. */
  private readonly active: number[][];

  constructor(heads: number, tokensMax: number = HELD_OUT_TOKENS_MAX) {
    this.heads = heads;
    this.tokensMax = tokensMax;
    this.active = Array.from({ length: heads }, () => []);
  }

  get full(): boolean {
    return this.tokens >= this.tokensMax;
  }

  /** Takes a whole sequence, or, when it is full, nothing. */
  add(sequence: HeadSequence): void {
    if (this.full) return;
    const { tokens, valid } = sequence;
    const numbers = Int32Array.from(valid, (counts) => (counts ? this.tokens++ : -1));
    this.texts.push({ tokens: Int32Array.from(tokens, (token) => this.place(token)), numbers });
    forEachActive(sequence, (head, position) => {
      assert(head < this.heads, () => `head ${head} of ${this.heads}`);
      this.active[head].push(numbers[position]);
    });
  }

  private place(token: number): number {
    const known = this.places.get(token);
    if (known !== undefined) return known;
    this.places.set(token, this.words.length);
    return this.words.push(token) - 1;
  }

  /** Valid tokens on which a head was active, by their number. */
  activeOn(head: number): readonly number[] {
    return this.active[head];
  }

  /** A rule's score of every valid token. */
  scores(rule: HeadRule): Float64Array {
    const out = new Float64Array(this.tokens);
    const ratios = ruleRatios(rule, this.places);
    for (const { tokens, numbers } of this.texts) {
      const scores = new Float64Array(tokens.length);
      scoreSequence(rule, { tokens, ...ratios }, scores);
      numbers.forEach((number, t) => {
        if (number >= 0) out[number] = scores[t];
      });
    }
    return out;
  }

  encode(): Uint8Array {
    const list = (values: readonly number[]) =>
      tensor('i32', [values.length], Int32Array.from(values));
    return encodeBlob(FORMAT, {
      numbers: list([this.heads, this.tokensMax, this.tokens]),
      words: list(this.words),
      lengths: list(this.texts.map(({ tokens }) => tokens.length)),
      tokens: list(this.texts.flatMap(({ tokens }) => [...tokens])),
      valid: list(this.texts.flatMap(({ numbers }) => [...numbers])),
      'active.counts': list(this.active.map((on) => on.length)),
      'active.on': list(this.active.flat()),
    });
  }

  /** Errors: `data_loss` for anything that `encode` did not write. */
  static decode(bytes: Uint8Array): HeldOutText {
    const take = openTensors(bytes, FORMAT);
    const list = (name: string) => take(name).data as Int32Array;
    const [heads, tokensMax, tokens] = list('numbers');
    const made = new HeldOutText(heads, tokensMax);
    made.tokens = tokens;
    list('words').forEach((word) => {
      made.place(word);
    });
    let from = 0;
    for (const length of list('lengths')) {
      const part = (name: string) => list(name).slice(from, from + length);
      made.texts.push({ tokens: part('tokens'), numbers: part('valid') });
      from += length;
    }
    const on = list('active.on');
    let at = 0;
    list('active.counts').forEach((count, head) => {
      for (const end = at + count; at < end; at++) made.active[head].push(on[at]);
    });
    return made;
  }
}

export interface RuleScores {
  /** AUROC of each head's rule as a predictor of its activity; NaN where it was active on fewer than 5 tokens. */
  readonly auroc: Float64Array;
  /** The same heads, each with another head's card. */
  readonly shuffled: Float64Array;
  readonly mean: MeanInterval;
  readonly shuffledMean: MeanInterval;
}

/**
 * *How well cards say where heads fire*, on text that no rule was read off. `heads` restricts it (SAEs and layers are compared on equally many);
 * cards are dealt anew among those, so that no head gets its own. Cost: heads · tokens · 12, twice.
 */
export function scoreRules(
  text: HeldOutText,
  rule: (head: number) => HeadRule,
  options: { readonly seed: number; readonly heads?: readonly number[] },
): RuleScores {
  const chosen = options.heads ?? Array.from({ length: text.heads }, (_, head) => head);
  const scored = chosen.filter((head) => text.activeOn(head).length >= AUROC_ACTIVE_MIN);
  const areas = new Float64Array(text.heads).fill(Number.NaN);
  const shuffled = new Float64Array(text.heads).fill(Number.NaN);
  const other = derangement(scored, new Rng(options.seed));
  scored.forEach((head, i) => {
    areas[head] = auroc(text.scores(rule(head)), text.activeOn(head));
    if (scored.length > 1) shuffled[head] = auroc(text.scores(rule(other[i])), text.activeOn(head));
  });
  return {
    auroc: areas,
    shuffled,
    mean: meanInterval(areas),
    shuffledMean: meanInterval(shuffled),
  };
}

/** A random cycle through all: every item goes to another one. */
function derangement(items: readonly number[], rng: Rng): number[] {
  const order = rng.shuffle(items);
  const next = new Map(order.map((item, i) => [item, order[(i + 1) % order.length]]));
  return items.map((item) => next.get(item) as number);
}

/** Which half of the text a document is in: rules are read off one and scored on the other, and no document is in both. */
export function ruleHalf(document: Uint8Array): 'learn' | 'score' {
  // Documents are named by digests, so that their last bit is a fair coin that every worker throws alike.
  return (document[document.length - 1] & 1) === 0 ? 'learn' : 'score';
}
