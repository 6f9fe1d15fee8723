import { assert } from '@heddle/core';
import { tensor } from '@heddle/tensor';
import { encodeBlob, openTensors } from './blob.ts';
import { DISTANCE_BUCKETS, distanceBucket } from './distance-buckets.ts';
import { forEachActive, type HeadAttention, type HeadSequence } from './head-sequence.ts';
import { drawOf, type HeadEvent, KeptEvents } from './kept-events.ts';
import { RESERVOIR_DEFAULT, TOKENS_DEFAULT } from './limits.ts';
import { TokenCounts, type TokenWeight } from './token-counts.ts';

export interface StatisticsSizes {
  readonly heads: number;
  /** Top activations kept per head. */
  readonly samples: number;
  /** Activations kept per head as an even draw from all. */
  readonly reservoir?: number;
  /** Tokens counted per head and side. */
  readonly tokens?: number;
  readonly seed: number;
}

export interface HeadSample extends HeadEvent {
  /** Share of the head's activations that are smaller, known to ±0.5/√reservoir (standard error). */
  readonly quantile: number;
}

/** Occurrences of a token: where heads may fire, and where they may read. */
export interface TokenOccurrences {
  readonly valid: number;
  readonly all: number;
}

/** Sources with less of the activation than this are not counted as what it reads: at most ten a row, mostly one. */
const SOURCE_SHARE_MIN = 0.1;
const FORMAT = 'heddle.heads.statistics/1';

/**
 * *What every head of a layer does over a text*, one sequence at a time, in memory of heads · (samples + reservoir + tokens): no
 * activation is stored. Everything but sums in floating point and over-full token counts is the same for every order and split of the text.
 * Features of an SAE go through it likewise; they have no attention, and the token before stands for what they read.
 */
export class HeadStatistics {
  readonly heads: number;
  readonly seed: number;
  /** Valid tokens seen, and sequences. */
  tokens = 0;
  sequences = 0;
  readonly occurrences = new Map<number, TokenOccurrences>();
  private readonly active: Float64Array;
  private readonly sums: Float64Array;
  private readonly squares: Float64Array;
  private readonly largest: Float64Array;
  /** Share of the activation by distance, `[ov_head, 12]`, and rows that it was measured on. */
  private readonly distanceSums: Float64Array;
  private kept: KeptEvents;
  private drawn: KeptEvents;
  private fires: TokenCounts;
  private reads: TokenCounts;

  constructor(sizes: StatisticsSizes) {
    const { heads, samples, reservoir = RESERVOIR_DEFAULT, tokens = TOKENS_DEFAULT } = sizes;
    this.heads = heads;
    this.seed = sizes.seed;
    this.active = new Float64Array(heads);
    this.sums = new Float64Array(heads);
    this.squares = new Float64Array(heads);
    this.largest = new Float64Array(heads);
    this.distanceSums = new Float64Array(heads * DISTANCE_BUCKETS);
    this.kept = new KeptEvents(heads, samples);
    this.drawn = new KeptEvents(heads, reservoir);
    this.fires = new TokenCounts(heads, tokens);
    this.reads = new TokenCounts(heads, tokens);
  }

  add(sequence: HeadSequence): void {
    this.countTokens(sequence);
    const { tokens, index, attention } = sequence;
    const pulls = new Float64Array(tokens.length);
    forEachActive(sequence, (head, position, z) => {
      assert(head < this.heads, () => `head ${head} of ${this.heads}`);
      const size = Math.abs(z);
      this.active[head]++;
      this.sums[head] += z;
      this.squares[head] += z * z;
      this.largest[head] = Math.max(this.largest[head], size);
      this.kept.insert(head, size, z, index, position);
      this.drawn.insert(head, drawOf(this.seed, head, index, position), z, index, position);
      this.fires.add(head, tokens[position], size);
      if (attention)
        this.addSources(sequence, attention, { head, position, sign: Math.sign(z), pulls });
      else if (position > 0) this.addPrevious(head, tokens[position - 1]);
    });
  }

  private countTokens({ tokens, valid }: HeadSequence): void {
    this.sequences++;
    for (let t = 0; t < tokens.length; t++) {
      const known = this.occurrences.get(tokens[t]) ?? { valid: 0, all: 0 };
      const counts = valid[t] ? 1 : 0;
      this.tokens += counts;
      this.occurrences.set(tokens[t], { valid: known.valid + counts, all: known.all + 1 });
    }
  }

  /** Every row weighs one: only what pulls in the activation's own direction is its source. */
  private addSources({ tokens }: HeadSequence, attention: HeadAttention, of: ActiveRow): void {
    const { head, position, pulls } = of;
    const total = pullsOf(attention, of);
    if (total === 0) return;
    const base = head * DISTANCE_BUCKETS;
    for (let s = 0; s <= position; s++) {
      if (pulls[s] <= 0) continue;
      const share = pulls[s] / total;
      this.distanceSums[base + distanceBucket(position - s)] += share;
      if (share >= SOURCE_SHARE_MIN) this.reads.add(head, tokens[s], share);
    }
  }

  /** Without attention the token before is what a feature may have read. */
  private addPrevious(head: number, token: number): void {
    this.distanceSums[head * DISTANCE_BUCKETS + distanceBucket(1)] += 1;
    this.reads.add(head, token, 1);
  }

  /** Takes in the statistics of another part of the text. */
  merge(other: HeadStatistics): void {
    assert(other.heads === this.heads && other.seed === this.seed, 'parts of one analysis');
    this.tokens += other.tokens;
    this.sequences += other.sequences;
    for (const [token, { valid, all }] of other.occurrences) {
      const known = this.occurrences.get(token) ?? { valid: 0, all: 0 };
      this.occurrences.set(token, { valid: known.valid + valid, all: known.all + all });
    }
    for (let head = 0; head < this.heads; head++) {
      this.active[head] += other.active[head];
      this.sums[head] += other.sums[head];
      this.squares[head] += other.squares[head];
      this.largest[head] = Math.max(this.largest[head], other.largest[head]);
    }
    other.distanceSums.forEach((share, at) => {
      this.distanceSums[at] += share;
    });
    this.kept.merge(other.kept);
    this.drawn.merge(other.drawn);
    this.fires.merge(other.fires);
    this.reads.merge(other.reads);
  }

  /** Tokens on which it was active. */
  count(head: number): number {
    return this.active[head];
  }

  /** Share of valid tokens on which it was active. */
  frequency(head: number): number {
    return this.tokens > 0 ? this.active[head] / this.tokens : 0;
  }

  /** Mean activation where active; 0 for a dead head. */
  mean(head: number): number {
    return this.active[head] > 0 ? this.sums[head] / this.active[head] : 0;
  }

  /** Standard deviation of the activation where active. */
  deviation(head: number): number {
    if (this.active[head] === 0) return 0;
    return Math.sqrt(Math.max(0, this.squares[head] / this.active[head] - this.mean(head) ** 2));
  }

  /** Largest activation, without its sign. */
  max(head: number): number {
    return this.largest[head];
  }

  /** Strongest first; ties: earlier in the text. */
  top(head: number): HeadSample[] {
    return this.kept
      .of(head)
      .map((event) => ({ ...event, quantile: this.quantile(head, event.activation) }));
  }

  /**
   * Samples from below the top, evenly over the quantiles: of n the j-th (from 0) stands next to quantile 1 − (j + ½)/n, strongest first.
   * Those among the top activations are left out, so fewer than n where a head hardly fires.
   */
  quantileSamples(head: number, n: number): HeadSample[] {
    const place = ({ sequence, position }: HeadEvent) => `${sequence} ${position}`;
    const top = new Set(this.kept.of(head).map(place));
    const pool = this.drawn
      .of(head)
      .filter((event) => !top.has(place(event)))
      .sort(
        (a, b) =>
          Math.abs(b.activation) - Math.abs(a.activation) ||
          a.sequence - b.sequence ||
          a.position - b.position,
      );
    const count = Math.min(n, pool.length);
    return Array.from({ length: count }, (_, j) => {
      const event = pool[Math.floor(((j + 0.5) * pool.length) / count)];
      return { ...event, quantile: this.quantile(head, event.activation) };
    });
  }

  /** Estimated share of the head's activations that are smaller than this one. */
  quantile(head: number, activation: number): number {
    const pool = this.drawn.of(head);
    if (pool.length === 0) return 0;
    const size = Math.abs(activation);
    return pool.filter((event) => Math.abs(event.activation) < size).length / pool.length;
  }

  /** Tokens on which it fires, by their share of Σ|z|. */
  firesOn(head: number, limit?: number): TokenWeight[] {
    return this.fires.of(head, limit);
  }

  /** Tokens that it reads, by their share of the z-patterns that pull its way; sources below a tenth of a row are left out. */
  readsFrom(head: number, limit?: number): TokenWeight[] {
    return this.reads.of(head, limit);
  }

  /** Shares of its z-patterns by `distanceBucket`; sum to 1, all 0 without sources. */
  distances(head: number): Float64Array {
    const row = this.distanceSums.slice(head * DISTANCE_BUCKETS, (head + 1) * DISTANCE_BUCKETS);
    const total = row.reduce((a, b) => a + b, 0);
    return total > 0 ? row.map((share) => share / total) : row;
  }

  /** The whole state as safetensors: what is decoded goes on to the same bits. */
  encode(): Uint8Array {
    const vector = (data: Float64Array) => tensor('f64', [data.length], data);
    const occurrences = [...this.occurrences].sort(([a], [b]) => a - b);
    const column = (pick: (of: (typeof occurrences)[number]) => number) =>
      vector(Float64Array.from(occurrences, pick));
    const parts = { kept: this.kept, drawn: this.drawn, fires: this.fires, reads: this.reads };
    const nested = Object.entries(parts).flatMap(([part, of]) =>
      Object.entries(of.tensors()).map(([name, t]) => [`${part}.${name}`, t] as const),
    );
    return encodeBlob(FORMAT, {
      numbers: vector(Float64Array.of(this.tokens, this.sequences, this.seed)),
      active: vector(this.active),
      sums: vector(this.sums),
      squares: vector(this.squares),
      largest: vector(this.largest),
      distances: vector(this.distanceSums),
      'occurrences.token': column(([token]) => token),
      'occurrences.valid': column(([, { valid }]) => valid),
      'occurrences.all': column(([, { all }]) => all),
      ...Object.fromEntries(nested),
    });
  }

  /** Errors: `data_loss` for anything that `encode` did not write. */
  static decode(bytes: Uint8Array): HeadStatistics {
    const take = openTensors(bytes, FORMAT);
    const vector = (name: string) => take(name).data as Float64Array;
    const kept = KeptEvents.from((name) => take(`kept.${name}`));
    const [tokens, sequences, seed] = vector('numbers');
    const made = new HeadStatistics({ heads: kept.heads, samples: kept.capacity, seed });
    made.tokens = tokens;
    made.sequences = sequences;
    made.active.set(vector('active'));
    made.sums.set(vector('sums'));
    made.squares.set(vector('squares'));
    made.largest.set(vector('largest'));
    made.distanceSums.set(vector('distances'));
    const [valid, all] = [vector('occurrences.valid'), vector('occurrences.all')];
    vector('occurrences.token').forEach((token, at) => {
      made.occurrences.set(token, { valid: valid[at], all: all[at] });
    });
    made.kept = kept;
    made.drawn = KeptEvents.from((name) => take(`drawn.${name}`));
    made.fires = TokenCounts.from((name) => take(`fires.${name}`));
    made.reads = TokenCounts.from((name) => take(`reads.${name}`));
    return made;
  }
}

/** A head active at a place, and room for what each position pulls. */
interface ActiveRow {
  readonly head: number;
  readonly position: number;
  readonly sign: number;
  readonly pulls: Float64Array;
}

/** sign · zp(t, s) for each s, and the sum of those that pull its way: `zRow` without what is not asked for here. */
function pullsOf(
  { pattern, values, pos, qkHeads, ovHeads }: HeadAttention,
  { head, position, sign, pulls }: ActiveRow,
): number {
  const from = (Math.floor(head / (ovHeads / qkHeads)) * pos + position) * pos;
  let total = 0;
  for (let s = 0; s <= position; s++) {
    const pull = sign * pattern[from + s] * values[s * ovHeads + head];
    pulls[s] = pull;
    if (pull > 0) total += pull;
  }
  return total;
}
