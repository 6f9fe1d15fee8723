import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { NAMES, SPLIT_WORDS } from '../../../tasks/index.ts';
import { DAYS, MONTHS } from '../../../tasks/lexicon.ts';
import { DETECTOR_NAMES, type DetectorName, type Probe } from '../probes/probe.ts';
import { shuffledProbe } from '../probes/shuffled-probe.ts';
import { DETECTORS, type HeadScore, ProbeTally } from './probe-tally.ts';
import { type HandmadeLayer, TinyTextWorld, type Unit } from './tiny-text-world.ts';

const world = new TinyTextWorld(1);
const fillers = Array.from({ length: 150 }, (_, i) => world.id(`filler ${i}`));
const copies = (words: readonly number[], sign: 1 | -1 = 1): Unit[] =>
  words.map((word) => ({ reads: [word], writes: [word], sign }));
const ordered = (words: readonly string[]): Unit[] =>
  words.map((word, k) => ({
    reads: [world.id(` ${word}`)],
    writes: [world.id(` ${words[(k + 1) % words.length]}`)],
  }));
/** One unit for so many words: rank-one heads read directions, and few of them a single word. */
const groups = <T>(words: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.floor(words.length / size) }, (_, i) =>
    words.slice(i * size, (i + 1) * size),
  );
const grouped = (words: readonly number[], sign: 1 | -1 = 1): Unit[] =>
  groups(words, 10).map((group) => ({
    reads: group,
    writes: group,
    sign,
  }));
const names = NAMES.map((name) => world.id(` ${name}`));
const split = SPLIT_WORDS.map((word) => ({
  initial: word[0]!,
  whole: world.id(` ${word}`),
  first: world.id(word[0]!),
  rest: world.id(word.slice(1)),
}));
const initials = [...new Set(split.map(({ initial }) => initial))].map((initial) =>
  split.filter((word) => word.initial === initial),
);
const fruits = world.topicWords('fruits');
const all = Array.from({ length: 100 }, (_, n) => n);
const numbers = (test: (n: number) => boolean) => ({
  reads: all.filter(test).map((n) => world.id(`${n}`)),
  not: all.filter((n) => !test(n)).map((n) => world.id(`${n}`)),
  writes: [fillers[0]!],
});

/** A layer that is what the detector looks for, every unit of it. */
const MADE: Readonly<Record<DetectorName, HandmadeLayer>> = {
  previous_token: world.layer({ query: 'wave', key: 'wave', shift: 1 }, copies(fillers)),
  induction: world.layer({ query: 'token', key: 'previous' }, copies(fillers)),
  subtoken_induction: world.associating(
    split.map(({ first, whole }) => [first, whole] as const),
    initials.map((words) => ({
      reads: words.map(({ whole }) => whole),
      writes: words.map(({ rest }) => rest),
    })),
  ),
  name_mover: world.layer({ query: 'one', key: 'nameOnce' }, grouped(names)),
  copy_suppression: world.layer({ query: 'wave', key: 'wave', shift: 2 }, grouped(fillers, -1)),
  successor: world.layer({ query: 'wave', key: 'wave' }, [...ordered(DAYS), ...ordered(MONTHS)]),
  sink: world.layer({ query: 'one', key: 'first' }, grouped(fillers)),
  arithmetic: world.layer({ query: 'one', key: 'first' }, [
    numbers((n) => n >= 27 && n <= 43),
    numbers((n) => n % 10 === 2),
    numbers((n) => n % 2 === 1),
  ]),
  thematic_anchor: world.associating(fruits, [{ reads: fruits, writes: fruits }]),
};

type Run = ReturnType<TinyTextWorld['run']>;

/** Scores of the heads that the probe saw often enough to say something. */
function scores(layer: HandmadeLayer, run: Run, probe: Probe, activeMin = 0): HeadScore[] {
  const tally = new ProbeTally(probe, world.effects(layer));
  for (const sequence of run) tally.add(sequence);
  return Array.from({ length: layer.config.n_ov_heads }, (_, head) => tally.score(head)).filter(
    ({ active }) => active >= activeMin,
  );
}

/** A part of the long probes is enough for heads that do nothing else. */
const MADE_SEQUENCES_MAX = 600;

for (const detector of DETECTOR_NAMES) {
  const layer = MADE[detector];

  test(`${detector}: every unit of a layer made to be it scores above the threshold, and under it with shuffled labels`, () => {
    const full = world.probe(detector);
    const probe = { ...full, sequences: full.sequences.slice(0, MADE_SEQUENCES_MAX) };
    const { threshold } = DETECTORS[detector];

    // A name occurs in a handful of the 96 prompts: then seven rows are what there is.
    const run = world.run(layer, probe);
    const found = scores(layer, run, probe, 7);
    assert.ok(found.length >= 1, 'the probe sets units off');
    for (const { score, evidence } of found) {
      assert.ok(score > threshold, `${score} under ${threshold}: ${evidence}`);
      assert.ok(score <= 1);
    }
    const control = scores(layer, run, shuffledProbe(probe, new Rng(5)), 7);
    assert.equal(control.length, found.length, 'the same heads are active');
    for (const { score, evidence } of control) {
      assert.ok(score < threshold, `${score} over ${threshold} with shuffled labels: ${evidence}`);
    }
  });
}

/** The first sequences of a probe: a null needs many heads, not many rows, and few rows are the harder test. */
function part(probe: Probe): Probe {
  const count = { arithmetic: 200, previous_token: 8, sink: 8, thematic_anchor: 8 };
  return { ...probe, sequences: probe.sequences.slice(0, count[probe.detector as 'sink'] ?? 20) };
}

for (const detector of DETECTOR_NAMES) {
  test(`${detector}: no head with random weights comes near the threshold, on this world or on a model with random weights, labels shuffled or not`, () => {
    const probe = part(world.probe(detector));
    const layer = world.random(128, new Rng(21));
    const { threshold } = DETECTORS[detector];

    for (const run of [
      world.run(layer, probe),
      world.run(layer, probe, world.randomModel(new Rng(22))),
    ]) {
      for (const labels of [probe, shuffledProbe(probe, new Rng(5))]) {
        const all = scores(layer, run, labels);
        const worst = all.reduce((a, b) => (a.score > b.score ? a : b));
        assert.ok(worst.score > 0, 'something was active');
        assert.ok(worst.score < 0.85 * threshold, `${worst.score}: ${worst.evidence}`);
      }
    }
  });
}

test('a head of one kind is not called another', () => {
  const kinds = ['previous_token', 'induction', 'sink', 'successor'] as const;
  for (const made of kinds) {
    for (const detector of kinds) {
      if (made === detector) continue;
      const full = world.probe(detector);
      const probe = { ...full, sequences: full.sequences.slice(0, 16) };
      const layer = MADE[made];
      for (const { score, threshold, evidence } of scores(layer, world.run(layer, probe), probe)) {
        assert.ok(score < threshold, `${made} called ${detector}: ${score}, ${evidence}`);
      }
    }
  }
});

test('the more often a head is active on a probe, the more its score says; never active says so', () => {
  const probe = world.probe('previous_token');
  const layer = MADE.previous_token;
  const run = world.run(layer, probe);
  const few = scores(layer, run.slice(0, 2), probe);
  const many = scores(layer, run, probe);

  many.forEach((score, head) => {
    const n = score.active;
    assert.ok(Math.abs(score.score - n / (n + 4)) < 0.02 || n === 0, `${n}: ${score.score}`);
    assert.ok(few[head]!.score <= score.score + 1e-12);
  });
  const never = few.find(({ active }) => active === 0);
  assert.equal(never?.score, 0);
  assert.match(never?.evidence ?? '', /never active at the probe's 120 places/);
});

test('scores of negative activations are those of the mirrored head', () => {
  const probe = {
    ...world.probe('induction'),
    sequences: world.probe('induction').sequences.slice(0, 20),
  };
  const layer = MADE.induction;
  const run = world.run(layer, probe);
  const mirrored = {
    ...layer,
    weights: {
      ...layer.weights,
      W_O: { ...layer.weights.W_O, data: layer.weights.W_O.data.map((w) => -w) },
    },
  };
  const negative = run.map((sequence) => ({
    ...sequence,
    acts: Array.from(sequence.acts, (z) => -z),
    attention: sequence.attention && {
      ...sequence.attention,
      values: Array.from(sequence.attention.values, (v) => -v),
    },
  }));

  const expected = scores(layer, run, probe);
  scores(mirrored, negative, probe).forEach(({ score }, head) => {
    assert.ok(Math.abs(score - expected[head]!.score) < 1e-12);
  });
});
