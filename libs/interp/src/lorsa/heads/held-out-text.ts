import { assert } from '@heddle/core';
import { tensor } from '@heddle/tensor';
import { encodeBlob, openTensors } from './blob.ts';
import { type HeadRule, ruleRatios, scoreSequence } from './head-rule.ts';
import { forEachActive, type HeadSequence } from './head-sequence.ts';
import { drawOf } from './kept-events.ts';
import { HELD_OUT_TOKENS_MAX } from './limits.ts';

const FORMAT = 'heddle.heads.text/1';

interface HeldSequence {
  readonly index: number;
  /** Its lot: those with the largest stay. */
  readonly key: number;
  readonly tokens: Int32Array;
  readonly valid: Uint8Array;
  readonly validCount: number;
  /** Active heads, and the positions of each. */
  readonly heads: Int32Array;
  readonly positions: Int32Array;
}

/** The text as rules are scored on it: sequences in order, valid tokens numbered through. */
interface ScoredText {
  readonly places: ReadonlyMap<number, number>;
  readonly texts: readonly { readonly tokens: Int32Array; readonly numbers: Int32Array }[];
  readonly active: readonly (readonly number[])[];
}

/**
 * *The text on which rules are scored*: tokens, and on which of them each head was active. Exact areas need all of them, so it is bounded:
 * sequences draw lots, and as few stay as give `tokensMax` valid tokens, from all over the text. Which ones follows from their indices alone, so any
 * order and any split of the text give the same.
 */
export class HeldOutText {
  readonly heads: number;
  readonly tokensMax: number;
  /** Valid tokens held. */
  tokens = 0;
  /** Largest lot first. */
  private readonly kept: HeldSequence[] = [];
  private scored: ScoredText | undefined;

  constructor(heads: number, tokensMax: number = HELD_OUT_TOKENS_MAX) {
    this.heads = heads;
    this.tokensMax = tokensMax;
  }

  add(sequence: HeadSequence): void {
    const key = drawOf(0, 0, sequence.index, 0);
    if (this.tokens >= this.tokensMax && !this.before(key, sequence.index, this.kept.at(-1)))
      return;
    const heads: number[] = [];
    const positions: number[] = [];
    forEachActive(sequence, (head, position) => {
      assert(head < this.heads, () => `head ${head} of ${this.heads}`);
      heads.push(head);
      positions.push(position);
    });
    const valid = Uint8Array.from({ length: sequence.tokens.length }, (_, t) =>
      sequence.valid[t] ? 1 : 0,
    );
    this.insert({
      index: sequence.index,
      key,
      tokens: Int32Array.from(sequence.tokens),
      valid,
      validCount: valid.reduce((sum, counts) => sum + counts, 0),
      heads: Int32Array.from(heads),
      positions: Int32Array.from(positions),
    });
  }

  merge(other: HeldOutText): void {
    assert(other.heads === this.heads && other.tokensMax === this.tokensMax, 'parts of one text');
    for (const sequence of other.kept) this.insert(sequence);
  }

  private before(key: number, index: number, other: HeldSequence | undefined): boolean {
    return other === undefined || key > other.key || (key === other.key && index < other.index);
  }

  private insert(sequence: HeldSequence): void {
    this.scored = undefined;
    const { key, index } = sequence;
    const at = this.kept.findIndex((other) => this.before(key, index, other));
    this.kept.splice(at < 0 ? this.kept.length : at, 0, sequence);
    this.tokens += sequence.validCount;
    // What is not needed now is never needed again: the lots before it only become more.
    for (
      let last = this.kept.at(-1);
      last && this.tokens - last.validCount >= this.tokensMax;
      last = this.kept.at(-1)
    ) {
      this.kept.pop();
      this.tokens -= last.validCount;
    }
  }

  private get text(): ScoredText {
    this.scored ??= this.numbered();
    return this.scored;
  }

  private numbered(): ScoredText {
    const places = new Map<number, number>();
    const active: number[][] = Array.from({ length: this.heads }, () => []);
    let number = 0;
    const texts = this.inOrder().map(({ tokens, valid, heads, positions }) => {
      const numbers = Int32Array.from(valid, (counts) => (counts ? number++ : -1));
      heads.forEach((head, i) => {
        active[head].push(numbers[positions[i]]);
      });
      const place = (token: number) => {
        const known = places.get(token) ?? places.size;
        places.set(token, known);
        return known;
      };
      return { tokens: tokens.map(place), numbers };
    });
    return { places, texts, active };
  }

  private inOrder(): HeldSequence[] {
    return this.kept.toSorted((a, b) => a.index - b.index);
  }

  /** Valid tokens on which a head was active, by their number. */
  activeOn(head: number): readonly number[] {
    return this.text.active[head];
  }

  /** A rule's score of every valid token. */
  scores(rule: HeadRule): Float64Array {
    const { places, texts } = this.text;
    const out = new Float64Array(this.tokens);
    const ratios = ruleRatios(rule, places);
    for (const { tokens, numbers } of texts) {
      const scores = new Float64Array(tokens.length);
      scoreSequence(rule, { tokens, ...ratios }, scores);
      numbers.forEach((number, t) => {
        if (number >= 0) out[number] = scores[t];
      });
    }
    return out;
  }

  encode(): Uint8Array {
    const held = this.inOrder();
    const list = (of: (sequence: HeldSequence) => ArrayLike<number>) => {
      const values = held.flatMap((sequence) => Array.from(of(sequence)));
      return tensor('i32', [values.length], Int32Array.from(values));
    };
    return encodeBlob(FORMAT, {
      sizes: tensor('i32', [2], Int32Array.of(this.heads, this.tokensMax)),
      index: list(({ index }) => [index]),
      lengths: list(({ tokens }) => [tokens.length]),
      counts: list(({ heads }) => [heads.length]),
      tokens: list(({ tokens }) => tokens),
      valid: list(({ valid }) => valid),
      heads: list(({ heads }) => heads),
      positions: list(({ positions }) => positions),
    });
  }

  /** Errors: `data_loss` for anything that `encode` did not write. */
  static decode(bytes: Uint8Array): HeldOutText {
    const take = openTensors(bytes, FORMAT);
    const list = (name: string) => take(name).data as Int32Array;
    const [heads, tokensMax] = list('sizes');
    const made = new HeldOutText(heads, tokensMax);
    const [lengths, counts] = [list('lengths'), list('counts')];
    let [token, pair] = [0, 0];
    list('index').forEach((index, i) => {
      const text = (name: string) => list(name).slice(token, token + lengths[i]);
      const pairs = (name: string) => list(name).slice(pair, pair + counts[i]);
      const valid = Uint8Array.from(text('valid'));
      made.insert({
        index,
        key: drawOf(0, 0, index, 0),
        tokens: text('tokens'),
        valid,
        validCount: valid.reduce((sum, one) => sum + one, 0),
        heads: pairs('heads'),
        positions: pairs('positions'),
      });
      token += lengths[i];
      pair += counts[i];
    });
    return made;
  }
}
