import { Rng } from '@heddle/core';
import { fromRows, lstsq } from '@heddle/linalg';
import { type Tensor, tensor } from '@heddle/tensor';
import { CATEGORIES, NAMES } from '../../../tasks/index.ts';
import { lorsaForward } from '../../forward.reference.ts';
import type { LorsaConfig } from '../../lorsa-config.ts';
import { type LorsaWeights, zeroWeights } from '../../lorsa-weights.ts';
import { tinyLorsaConfig } from '../../tiny-lorsa.ts';
import { referenceSequence } from '../head-sequence.reference.ts';
import type { HeadSequence } from '../head-sequence.ts';
import { drawProbes, probeTexts } from '../probes/draw-probes.ts';
import type { DetectorName, Probe, ProbeVocabulary } from '../probes/probe.ts';
import { TokenEffects } from '../token-effects.ts';

const D_TOKEN = 104;
const WAVES = 16;
const FLAGS = { one: 0, first: 1, nameOnce: 2 } as const;
const AT = {
  token: 0,
  previous: D_TOKEN,
  wave: 2 * D_TOKEN,
  flag: 2 * D_TOKEN + 2 * WAVES,
} as const;
const D_MODEL = AT.flag + 3;

/** A part of x as a linear map of it into `[d_head]`. */
export type Part = 'token' | 'previous' | 'wave' | keyof typeof FLAGS;

export interface Unit {
  /** Σ of these tokens' embeddings. */
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  readonly sign?: 1 | -1;
  /** Reads exactly nothing of these. */
  readonly not?: readonly number[];
}

export interface HandmadeLayer {
  readonly config: LorsaConfig;
  readonly weights: LorsaWeights<Tensor<'f64'>>;
}

/**
 * A text world for tests of detectors: words as a simple tokenizer cuts them, and x with everything in it that a layer above others could
 * read: the token, the token before, the place as waves, and three flags. Layers can be made by hand in it.
 */
export class TinyTextWorld {
  readonly probes: readonly Probe[];
  readonly rows: Tensor<'f64'>;
  private readonly ids = new Map<string, number>();
  private readonly embeddings: Float64Array[] = [];
  private readonly frequencies: Float64Array;
  private readonly rng: Rng;

  constructor(seed: number) {
    this.rng = new Rng(seed);
    this.frequencies = Float64Array.from({ length: WAVES }, () => 0.3 + 2.8 * this.rng.uniform());
    for (const text of probeTexts(seed)) this.encode(text);
    for (let extra = 0; extra < 150; extra++) this.id(`filler ${extra}`);
    const drawn = drawProbes(seed, this.vocabulary());
    this.probes = drawn.flatMap((probe) => ('notApplicable' in probe ? [] : [probe]));
    const data = new Float64Array(this.ids.size * D_MODEL);
    this.embeddings.forEach((e, id) => {
      data.set(e, id * D_MODEL);
    });
    this.rows = tensor('f64', [this.ids.size, D_MODEL], data);
  }

  vocabulary(): ProbeVocabulary {
    const pool = Array.from({ length: 150 }, (_, extra) => this.id(`filler ${extra}`));
    return { encode: (text) => this.encode(text), pool, prefix: [], n_ctx: 256 };
  }

  /** Words with their space; a capitalised word without one comes as its first letter and the rest. */
  encode(text: string): number[] {
    const words = text.match(/ ?[A-Za-z0-9]+|[^A-Za-z0-9 ]/g) ?? [];
    return words
      .flatMap((word) => (/^[A-Z][a-z]/.test(word) ? [word[0], word.slice(1)] : [word]))
      .map((word) => this.id(word));
  }

  id(word: string): number {
    const known = this.ids.get(word);
    if (known !== undefined) return known;
    const id = this.ids.size;
    this.ids.set(word, id);
    const raw = Float64Array.from({ length: D_TOKEN }, () => this.rng.normal());
    this.embeddings.push(raw.map((value) => value / Math.hypot(...raw)));
    return id;
  }

  probe(detector: DetectorName): Probe {
    return this.probes.find((probe) => probe.detector === detector) as Probe;
  }

  /** `[pos, d_model]`. */
  x(tokens: readonly number[]): Tensor<'f64'> {
    const names = new Set(NAMES.map((name) => this.id(` ${name}`)));
    const data = new Float64Array(tokens.length * D_MODEL);
    tokens.forEach((token, t) => {
      const row = data.subarray(t * D_MODEL, (t + 1) * D_MODEL);
      row.set(this.embeddings[token], AT.token);
      if (t > 0) row.set(this.embeddings[tokens[t - 1]], AT.previous);
      this.frequencies.forEach((frequency, k) => {
        row[AT.wave + 2 * k] = Math.cos(frequency * t) / Math.sqrt(WAVES);
        row[AT.wave + 2 * k + 1] = Math.sin(frequency * t) / Math.sqrt(WAVES);
      });
      const once = names.has(token) && tokens.indexOf(token) === tokens.lastIndexOf(token);
      row[AT.flag + FLAGS.one] = 1;
      row[AT.flag + FLAGS.first] = t === 0 ? 1 : 0;
      row[AT.flag + FLAGS.nameOnce] = once ? 1 : 0;
    });
    return tensor('f64', [tokens.length, D_MODEL], data);
  }

  /** One shared head whose scores are 40 · query · key, and a unit for each of `units`. */
  layer(
    look: { readonly query: Part; readonly key: Part; readonly shift?: number },
    units: readonly Unit[],
  ): HandmadeLayer {
    const config = this.config(units.length, 1);
    const weights = zeroWeights(config);
    const place = (W: Tensor<'f64'>, part: Part, factor: number, shift = 0) => {
      const put = (from: number, to: number, value: number) => {
        W.data[from * D_TOKEN + to] = factor * value;
      };
      if (part === 'token' || part === 'previous') {
        for (let c = 0; c < D_TOKEN; c++) put(AT[part] + c, c, 1);
      } else if (part === 'wave') {
        this.frequencies.forEach((frequency, k) => {
          const [cos, sin] = [Math.cos(frequency * shift), Math.sin(frequency * shift)];
          const at = AT.wave + 2 * k;
          put(at, 2 * k, cos);
          put(at + 1, 2 * k, sin);
          put(at, 2 * k + 1, -sin);
          put(at + 1, 2 * k + 1, cos);
        });
      } else put(AT.flag + FLAGS[part], 0, 1);
    };
    place(weights.W_Q, look.query, 40, look.shift);
    place(weights.W_K, look.key, 1);
    return { config, weights: this.withUnits(weights, units) };
  }

  /** Looks from each query word at all of its key words, or from everywhere at some words. */
  associating(
    pairs: readonly (readonly [query: number, key: number])[] | readonly number[],
    units: readonly Unit[],
    not: readonly number[] = [],
  ): HandmadeLayer {
    const config = this.config(units.length, 1);
    const weights = zeroWeights(config);
    const { data } = weights.W_Q;
    for (let c = 0; c < D_TOKEN; c++) weights.W_K.data[(AT.token + c) * D_TOKEN + c] = 1;
    const everywhere = pairs.filter((key) => typeof key === 'number');
    if (everywhere.length > 0) {
      this.reading(everywhere, not).forEach((pull, c) => {
        data[(AT.flag + FLAGS.one) * D_TOKEN + c] = 30 * pull;
      });
    }
    for (const pair of pairs) {
      if (typeof pair === 'number') continue;
      const [query, key] = pair.map((word) => this.embeddings[word]);
      for (let at = 0; at < D_TOKEN ** 2; at++) {
        data[AT.token * D_TOKEN + at] += 30 * query[Math.floor(at / D_TOKEN)] * key[at % D_TOKEN];
      }
    }
    return { config, weights: this.withUnits(weights, units) };
  }

  /** A layer with random weights whose attention is fairly sharp. */
  random(heads: number, rng: Rng): HandmadeLayer {
    const config = { ...this.config(heads, 4), topK: heads / 8 };
    const weights = zeroWeights(config);
    for (const [name, t] of Object.entries(weights) as [string, Tensor<'f64'>][]) {
      const std = name === 'W_Q' ? 2 : name === 'W_K' ? 0.5 : 0.3;
      t.data.forEach((_, at) => {
        t.data[at] = std * rng.normal();
      });
    }
    return { config, weights };
  }

  private config(heads: number, qkHeads: number): LorsaConfig {
    return tinyLorsaConfig({
      d_model: D_MODEL,
      n_ov_heads: heads,
      n_qk_heads: qkHeads,
      d_qk_head: D_TOKEN,
      n_ctx: 256,
      topK: heads,
      attnScale: 1,
    });
  }

  /** Units are active only where what they read stands fully there: b_V takes away what other words' embeddings share. */
  private withUnits(weights: LorsaWeights<Tensor<'f64'>>, units: readonly Unit[]) {
    units.forEach(({ reads, writes, sign = 1, not = [] }, i) => {
      weights.W_V.data.set(this.reading(reads, not), i * D_MODEL);
      for (const word of writes) {
        for (let c = 0; c < D_TOKEN; c++) {
          weights.W_O.data[i * D_MODEL + c] += sign * this.embeddings[word][c];
        }
      }
      weights.b_V.data[i] = -0.8;
    });
    return weights;
  }

  /** The shortest vector with product 1 with each word that is read and 0 with each that is not. */
  private reading(words: readonly number[], not: readonly number[]): Float64Array {
    const rows = [...words, ...not].map((word) => this.embeddings[word]);
    const target = rows.map((_, at) => Float64Array.of(at < words.length ? 1 : 0));
    return lstsq(fromRows(rows), fromRows(target)).data;
  }

  /** What the layer does on a probe; `x`: what it reads, if not this world's. */
  run(
    { config, weights }: HandmadeLayer,
    probe: Probe,
    x = (tokens: readonly number[]) => this.x(tokens),
  ): HeadSequence[] {
    return probe.sequences.map(({ tokens }, index) => {
      const valid = new Uint8Array(tokens.length).fill(1);
      return referenceSequence(config, weights, { x: x(tokens), tokens, valid, index });
    });
  }

  /** What stands before the second attention of a model with random weights: LN(r + attention(LN(r))), r random words and places. */
  randomModel(rng: Rng): (tokens: readonly number[]) => Tensor<'f64'> {
    const { config, weights } = this.random(64, rng);
    const draw = () => Float64Array.from({ length: D_MODEL }, () => rng.normal());
    const words = Array.from(this.embeddings, draw);
    const places = Array.from({ length: 256 }, draw);
    return (tokens) => {
      const residual = tokens.map((token, t) =>
        words[token].map((value, d) => value + 0.5 * places[t][d]),
      );
      const { data } = lorsaForward(config, weights, normalised(residual)).reconstruction;
      return normalised(
        residual.map((row, t) => row.map((value, d) => value + data[t * D_MODEL + d])),
      );
    };
  }

  effects({ weights }: HandmadeLayer): TokenEffects {
    return new TokenEffects({ directions: weights.W_O, rows: this.rows });
  }

  topicWords(topic: string): number[] {
    return CATEGORIES[topic].map((word) => this.id(` ${word}`));
  }
}

/** LayerNorm without gain: mean 0, norm 2, about that of the world's own rows. */
function normalised(rows: readonly Float64Array[]): Tensor<'f64'> {
  const out = new Float64Array(rows.length * D_MODEL);
  rows.forEach((row, t) => {
    const mean = row.reduce((a, b) => a + b, 0) / D_MODEL;
    const norm = Math.sqrt(row.reduce((sum, value) => sum + (value - mean) ** 2, 0));
    row.forEach((value, d) => {
      out[t * D_MODEL + d] = (2 * (value - mean)) / norm;
    });
  });
  return tensor('f64', [rows.length, D_MODEL], out);
}
