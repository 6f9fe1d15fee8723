import { assert } from '@heddle/core';
import { type HeadSequence, zRow } from '../head-sequence.ts';
import type { DetectorName, Probe, ProbeSequence, ProbeTarget } from '../probes/probe.ts';
import type { TokenEffects } from '../token-effects.ts';
import { ARITHMETIC, arithmeticFit, arithmeticScore, type SumCell } from './arithmetic.ts';
import { previousToken, sink } from './attention-detectors.ts';
import { copySuppression, induction, nameMover, subtokenInduction } from './copying-detectors.ts';
import type { Detector, ProbeSums, RowEffects } from './detector.ts';
import { percent, seen } from './evidence.ts';
import { successor, thematicAnchor } from './list-detectors.ts';

const ROW_DETECTORS: Readonly<Record<Exclude<DetectorName, 'arithmetic'>, Detector>> = {
  previous_token: previousToken,
  induction,
  subtoken_induction: subtokenInduction,
  name_mover: nameMover,
  copy_suppression: copySuppression,
  successor,
  sink,
  thematic_anchor: thematicAnchor,
};

/** Name, threshold and one line about each detector. */
export const DETECTORS: Readonly<
  Record<
    DetectorName,
    { readonly name: DetectorName; readonly threshold: number; readonly what: string }
  >
> = { ...ROW_DETECTORS, arithmetic: ARITHMETIC };

export interface HeadScore {
  readonly detector: DetectorName;
  /** 0 to 1. */
  readonly score: number;
  /** What scores above it is called so. */
  readonly threshold: number;
  /** Places of the probe at which the head was active. */
  readonly active: number;
  /** One line for a person. */
  readonly evidence: string;
}

/** Sums kept per head: rows, Σ|z|, Σ|z| value, Σ boost weights, Σ boosts, Σ z, Σ z². */
const SUMS = 7;

/**
 * *One detector on one probe*, sequence by sequence, for all heads at once. Give it what the layer did on each of the probe's sequences,
 * `index` being its place among them. Memory: 7 numbers per head; for arithmetic the active cells, for copy suppression the tokens read.
 */
export class ProbeTally {
  readonly probe: Probe;
  private readonly heads: number;
  private readonly effects: TokenEffects;
  private readonly sums: Float64Array;
  private readonly read = new Map<number, Map<number, number>>();
  private readonly cells = new Map<number, Map<number, number>>();
  private readonly ranks = new Map<number, SequenceRanks>();
  private readonly bests = new Map<number, number>();
  private targets = 0;

  constructor(probe: Probe, effects: TokenEffects) {
    this.probe = probe;
    this.heads = effects.heads;
    this.effects = effects;
    this.sums = new Float64Array(this.heads * SUMS);
  }

  add(done: HeadSequence): void {
    const sequence = this.probe.sequences[done.index];
    assert(sequence !== undefined, () => `sequence ${done.index} of the probe`);
    assert(done.tokens.length === sequence.tokens.length, 'the probe as it was drawn');
    this.targets += sequence.targets.length;
    // Candidates of the whole probe are ranked once per head, those of a sequence once per head and sequence.
    const ranks = this.probe.candidates ? this.ranks : new Map<number, SequenceRanks>();
    for (const target of sequence.targets) {
      for (let slot = 0; slot < done.slots; slot++) {
        const at = target.position * done.slots + slot;
        if (done.acts[at] === 0) continue;
        const head = done.winners[at];
        if (sequence.operands) this.addCell(head, done.index, done.acts[at]);
        else this.addRow(done, sequence, target, { head, z: done.acts[at], ranks });
      }
    }
  }

  private addCell(head: number, index: number, z: number): void {
    const cells = this.cells.get(head) ?? new Map<number, number>();
    cells.set(index, z);
    this.cells.set(head, cells);
  }

  private addRow(
    done: HeadSequence,
    sequence: ProbeSequence,
    target: ProbeTarget,
    of: { readonly head: number; readonly z: number; readonly ranks: Map<number, SequenceRanks> },
  ): void {
    const { head, z, ranks } = of;
    assert(done.attention, 'a probe needs the attention of its sequences');
    const known = ranks.get(head) ?? this.ranksOf(head, sequence);
    ranks.set(head, known);
    const row = zRow(done.attention, head, target.position);
    const effects = this.rowEffects(head, z, known);
    const detector = ROW_DETECTORS[this.probe.detector as keyof typeof ROW_DETECTORS];
    const evidence = detector.evidence({ probe: this.probe, sequence, target, z, row, effects });
    const { value, boost = 0, boostWeight = 0 } = evidence;
    const weight = Math.abs(z);
    const adds = [
      1,
      weight,
      weight * value,
      weight * boostWeight,
      weight * boostWeight * boost,
      z,
      z * z,
    ];
    adds.forEach((add, i) => {
      this.sums[head * SUMS + i] += add;
    });
    for (const { token, weight: share } of evidence.tokens ?? []) {
      const weights = this.read.get(head) ?? new Map<number, number>();
      weights.set(token, (weights.get(token) ?? 0) + weight * share);
      this.read.set(head, weights);
    }
  }

  private ranksOf(head: number, { tokens, targets }: ProbeSequence): SequenceRanks {
    const { candidates } = this.probe;
    const raised = targets.flatMap(({ raises }) => (raises === undefined ? [] : [raises]));
    return new SequenceRanks(
      this.effects,
      head,
      candidates ?? [...new Set([...tokens, ...raised])],
    );
  }

  private rowEffects(head: number, z: number, ranks: SequenceRanks): RowEffects {
    const sign = z < 0 ? -1 : 1;
    return {
      effect: (token) => sign * this.effects.effect(head, token),
      percentile: (token) => (sign > 0 ? ranks.percentile(token) : 1 - ranks.percentile(token)),
      best: () => {
        const key = 2 * head + (sign < 0 ? 1 : 0);
        const known = this.bests.get(key) ?? ranks.best(sign);
        this.bests.set(key, known);
        return known;
      },
    };
  }

  /** Asserts that the head exists. Heads that were never active score 0, and their evidence says so. */
  score(head: number): HeadScore {
    assert(head >= 0 && head < this.heads, () => `head ${head} of ${this.heads}`);
    const { detector } = this.probe;
    if (detector === 'arithmetic') return this.arithmetic(head);
    const { threshold, score, words } = ROW_DETECTORS[detector];
    const sums = this.sumsOf(head);
    const evidence = sums.rows === 0 ? seen(sums) : words(sums);
    return { detector, score: score(sums), threshold, active: sums.rows, evidence };
  }

  private sumsOf(head: number): ProbeSums {
    const [rows, weight, value, boostWeight, boost, z, square] = this.sums.subarray(
      head * SUMS,
      (head + 1) * SUMS,
    );
    const mean = rows > 0 ? z / rows : 0;
    return {
      rows,
      targets: this.targets,
      value: weight > 0 ? value / weight : 0,
      boost: boostWeight > 0 ? boost / boostWeight : 0,
      mean,
      deviation: rows > 0 ? Math.sqrt(Math.max(0, square / rows - mean ** 2)) : 0,
      variety: participation([...(this.read.get(head)?.values() ?? [])]),
    };
  }

  private arithmetic(head: number): HeadScore {
    const active = this.cells.get(head)?.size ?? 0;
    const fit = arithmeticFit(active > 0 ? this.heatMap(head) : []);
    const { name, threshold } = ARITHMETIC;
    const at = seen({ ...this.sumsOf(head), rows: active });
    const point = fit.counted < fit.explained ? ' (one value: counts a quarter)' : '';
    const evidence =
      active === 0
        ? at
        : `"${fit.rule}" explains ${percent(fit.explained)} of z(a, b)${point}; ${at}`;
    return { detector: name, score: arithmeticScore(fit, active), threshold, active, evidence };
  }

  /** z(a, b) of every sum of the probe, 0 where the head was not active. */
  heatMap(head: number): SumCell[] {
    const cells = this.cells.get(head);
    return this.probe.sequences.flatMap(({ operands }, index) => {
      if (!operands) return [];
      const [a, b] = operands;
      return [{ a, b, z: cells?.get(index) ?? 0 }];
    });
  }
}

/** (Σw)² / Σw²: how many there are, counting light ones less. */
function participation(weights: readonly number[]): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return total > 0 ? total ** 2 / weights.reduce((sum, weight) => sum + weight ** 2, 0) : 0;
}

/** One head's effects on the candidates of one sequence, computed once for all of its rows. */
class SequenceRanks {
  private readonly tokens: readonly number[];
  private readonly values: Float64Array;
  private readonly of: (token: number) => number;

  constructor(effects: TokenEffects, head: number, tokens: readonly number[]) {
    this.tokens = tokens;
    this.values = Float64Array.from(tokens, (token) => effects.effect(head, token));
    this.of = (token) => effects.effect(head, token);
  }

  percentile(token: number): number {
    const at = this.tokens.indexOf(token);
    const own = at < 0 ? this.of(token) : this.values[at];
    let below = 0;
    for (let i = 0; i < this.values.length; i++) {
      if (i !== at) below += this.values[i] < own ? 1 : this.values[i] === own ? 0.5 : 0;
    }
    const others = this.values.length - (at < 0 ? 0 : 1);
    return others > 0 ? below / others : 0.5;
  }

  /** The candidate with the largest effect (the smallest for a negative sign), the earlier of equal ones. */
  best(sign: number): number {
    let best = 0;
    this.values.forEach((value, i) => {
      if (sign * value > sign * this.values[best]) best = i;
    });
    return this.tokens[best];
  }
}
