import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import {
  bucketRange,
  DISTANCE_BUCKETS,
  distanceBucket,
  type HeadRule,
  type HeadSequence,
  HeadStatistics,
  HeldOutText,
  learnRule,
  ruleHalf,
  ruleText,
  scoreRules,
} from './index.ts';

const HEADS = 4;
const WORDS = 40;

/**
 * Text in which head 0 fires on words 0 to 3, head 1 three behind word 7, head 2 anywhere by lot, head 3 never; with attention (sharp, on the
 * place that head 1 reads) or as SAE features.
 */
function text(seed: number, sequences: number, attention: boolean, from = 0): HeadSequence[] {
  const rng = new Rng(seed);
  return Array.from({ length: sequences }, (_, i) => {
    const length = 24;
    const tokens = Array.from({ length }, () => rng.below(WORDS));
    const winners: number[] = [];
    const acts: number[] = [];
    tokens.forEach((token, t) => {
      winners.push(0, 1, 2);
      acts.push(token < 4 ? 1 : 0, tokens[t - 3] === 7 ? 1 : 0, rng.below(10) === 0 ? 1 : 0);
    });
    const pattern = new Float64Array(2 * length * length);
    for (let t = 0; t < length; t++) {
      pattern[t * length + Math.max(0, t - 3)] = 1;
      pattern[(length + t) * length + t] = 1;
    }
    const values = new Float64Array(length * HEADS).fill(1);
    return {
      index: from + i,
      tokens,
      valid: tokens.map((_, t) => (t === 0 ? 0 : 1)),
      slots: 3,
      winners,
      acts,
      ...(attention
        ? { attention: { pattern, values, pos: length, qkHeads: 2, ovHeads: HEADS } }
        : {}),
    };
  });
}

function learnt(sequences: readonly HeadSequence[]): HeadStatistics {
  const statistics = new HeadStatistics({ heads: HEADS, samples: 4, seed: 0 });
  for (const sequence of sequences) statistics.add(sequence);
  return statistics;
}

function heldOut(sequences: readonly HeadSequence[], tokensMax?: number): HeldOutText {
  const held = new HeldOutText(HEADS, tokensMax);
  for (const sequence of sequences) held.add(sequence);
  return held;
}

test('rules of heads that follow their tokens or their source foretell them on other text; a head by lot and a dealt card do not', () => {
  const statistics = learnt(text(1, 200, true));
  const scores = scoreRules(
    heldOut(text(2, 150, true, 200)),
    (head) => learnRule(statistics, head),
    { seed: 4 },
  );

  assert.ok(scores.auroc[0]! > 0.999, `${scores.auroc[0]}`);
  // Three and four back are one bucket: word 7 four back is a false alarm.
  assert.ok(scores.auroc[1]! > 0.98, `${scores.auroc[1]}`);
  // 150 · 23 tokens, a tenth active: the standard error of a chance area is 0.017.
  assert.ok(Math.abs(scores.auroc[2]! - 0.5) < 0.06, `${scores.auroc[2]}`);
  assert.ok(Number.isNaN(scores.auroc[3]!), 'never active: no area');
  for (const head of [0, 1, 2])
    assert.ok(Math.abs(scores.shuffled[head]! - 0.5) < 0.1, `${head}: ${scores.shuffled[head]}`);
  assert.equal(scores.mean.heads, 3);
  assert.ok(scores.mean.low < scores.mean.mean);
});

test('features without attention are told by their own token and the one before, not by one three back', () => {
  const statistics = learnt(text(1, 200, false));
  const { auroc } = scoreRules(
    heldOut(text(2, 150, false, 200)),
    (head) => learnRule(statistics, head),
    { seed: 4 },
  );

  assert.ok(auroc[0]! > 0.999);
  assert.ok(Math.abs(auroc[1]! - 0.5) < 0.1, `${auroc[1]}`);
});

test('a score is the product of the ratios of its own token and of the tokens behind it, as slow loops say', () => {
  const rng = new Rng(6);
  const ratios = (n: number) =>
    Array.from({ length: n }, (_, token) => ({ token, weight: 0.1, logRatio: rng.normal() }));
  const distances = Float64Array.from({ length: DISTANCE_BUCKETS }, () => rng.uniform());
  const rule: HeadRule = {
    fires: ratios(9),
    firesElse: -0.7,
    reads: ratios(5),
    readsElse: 0.2,
    distances,
  };
  const sequence: HeadSequence = {
    index: 0,
    tokens: Array.from({ length: 90 }, () => rng.below(12)),
    valid: new Uint8Array(90).fill(1),
    slots: 1,
    winners: new Int32Array(90),
    acts: new Float64Array(90),
  };

  const scores = heldOut([sequence]).scores(rule);

  for (let t = 0; t < 90; t++) {
    const lift = (s: number) => Math.exp(rule.reads[sequence.tokens[s]!]?.logRatio ?? 0.2);
    let [weight, sum] = [0, 0];
    for (let b = 0; b < DISTANCE_BUCKETS; b++) {
      const there = Array.from({ length: t + 1 }, (_, s) => s).filter(
        (s) => distanceBucket(t - s) === b,
      );
      if (there.length === 0) continue;
      weight += distances[b]!;
      sum += distances[b]! * (there.reduce((total, s) => total + lift(s), 0) / there.length);
    }
    const fires = Math.exp(rule.fires[sequence.tokens[t]!]?.logRatio ?? -0.7);
    assert.ok(Math.abs(scores[t]! - (fires * sum) / weight) < 1e-9 * scores[t]!, `${t}`);
  }
});

test('distance buckets cover every distance once', () => {
  for (let distance = 0; distance < 1500; distance++) {
    const { near, far } = bucketRange(distanceBucket(distance));
    assert.ok(near <= distance && distance <= far, `${distance}`);
    const others = Array.from({ length: DISTANCE_BUCKETS }, (_, b) => bucketRange(b)).filter(
      (range) => range.near <= distance && distance <= range.far,
    );
    assert.equal(others.length, 1);
  }
});

test('a rule reads as a sentence', () => {
  const statistics = learnt(text(1, 200, true));
  const show = (token: number) => `w${token}`;

  const first = ruleText(learnRule(statistics, 0), show);
  const words = /fires on (w\d) (w\d) (w\d) (w\d), reads/.exec(first)?.slice(1).sort();
  assert.deepEqual(words, ['w0', 'w1', 'w2', 'w3'], first);
  assert.match(ruleText(learnRule(statistics, 1), show), /reads from w7 3 to 4 back \(100 %\)$/);
  assert.match(ruleText(learnRule(statistics, 2), show), /reads .* at its own place \(100 %\)$/);
  assert.match(ruleText(learnRule(statistics, 3), show), /^fires on no token in particular$/);
});

test('held-out text keeps just enough sequences, from all over the text, whatever the order and the split', () => {
  const sequences = text(3, 60, true);
  const held = heldOut(sequences, 200);
  const rule = learnRule(learnt(sequences), 0);
  const answers = (of: HeldOutText) => [
    of.tokens,
    [...of.scores(rule)],
    of.activeOn(0),
    of.activeOn(2),
  ];

  assert.equal(
    held.tokens,
    9 * 23,
    'nine sequences of 23 valid tokens are the fewest that give 200',
  );
  const parts = heldOut(sequences.slice(0, 25), 200);
  parts.merge(heldOut(sequences.slice(25), 200));
  assert.deepEqual(answers(parts), answers(held));
  assert.deepEqual(answers(heldOut(new Rng(1).shuffle(sequences), 200)), answers(held));
  assert.deepEqual(parts.encode(), held.encode());

  // In 200 texts each sequence is kept as often as the others: 9 of 60.
  const kept = new Float64Array(60);
  for (let round = 0; round < 200; round++) {
    const shifted = new HeldOutText(HEADS, 200);
    for (const sequence of sequences)
      shifted.add({
        ...sequence,
        index: sequence.index + 60 * round,
        tokens: Array.from(sequence.tokens, () => sequence.index),
      });
    const every = shifted.scores({
      fires: sequences.map((_, token) => ({ token, weight: 0, logRatio: token })),
      firesElse: 0,
      reads: [],
      readsElse: 0,
      distances: new Float64Array(DISTANCE_BUCKETS),
    });
    for (const index of new Set([...every].map((score) => Math.round(Math.log(score)))))
      kept[index]!++;
  }
  kept.forEach((count, index) => {
    assert.ok(Math.abs(count - 30) < 26, `${index}: ${count}`);
  });
});

test('held-out text survives being written and read, and goes on alike', () => {
  const sequences = text(3, 60, true);
  const half = heldOut(sequences.slice(0, 30), 300);
  const read = HeldOutText.decode(half.encode());
  for (const sequence of sequences.slice(30)) {
    half.add(sequence);
    read.add(sequence);
  }

  assert.deepEqual(read.encode(), half.encode());
  assert.deepEqual(read.encode(), heldOut(sequences, 300).encode());
  assert.throws(() => HeldOutText.decode(new Uint8Array(40)), /damaged/);
});

test('a shuffled card is never the own one, also of two heads, and the choice of heads is kept', () => {
  const statistics = learnt(text(1, 100, true));
  const held = heldOut(text(2, 50, true, 100));
  const asked: number[] = [];
  const rule = (head: number) => {
    asked.push(head);
    return learnRule(statistics, head);
  };

  const { auroc, shuffled } = scoreRules(held, rule, { seed: 1, heads: [0, 1] });

  assert.deepEqual(asked, [0, 1, 1, 0]);
  assert.ok(!Number.isNaN(auroc[0]!) && Number.isNaN(auroc[2]!));
  assert.ok(shuffled[0]! < 0.6);
});

test('documents fall into the two halves evenly, and one document always into the same', () => {
  const rng = new Rng(8);
  let learn = 0;
  for (let i = 0; i < 4000; i++) {
    const digest = Uint8Array.from({ length: 8 }, () => rng.below(256));
    if (ruleHalf(digest) === 'learn') learn++;
    assert.equal(ruleHalf(digest), ruleHalf(digest.slice()));
  }
  assert.ok(Math.abs(learn - 2000) < 160, `${learn}`);
});
