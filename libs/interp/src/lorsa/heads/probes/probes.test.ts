import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { TinyTextWorld } from '../detectors/tiny-text-world.ts';
import { drawProbes, probeTexts } from './draw-probes.ts';
import { DETECTOR_NAMES, type Probe, type ProbeVocabulary } from './probe.ts';
import { shuffledProbe } from './shuffled-probe.ts';

const world = new TinyTextWorld(2);
const vocabulary = world.vocabulary();

function probesOf(changes: Partial<ProbeVocabulary>) {
  return drawProbes(2, { ...vocabulary, ...changes });
}

function applicable(all: ReturnType<typeof drawProbes>): Probe[] {
  return all.flatMap((probe) => ('notApplicable' in probe ? [] : [probe]));
}

/** Why each probe that does not apply does not. */
function reasons(changes: Partial<ProbeVocabulary>): Record<string, string> {
  return Object.fromEntries(
    probesOf(changes).flatMap((p) => ('notApplicable' in p ? [[p.detector, p.notApplicable]] : [])),
  );
}

test('there is a probe for each detector, its labels point into its own sequences, and a seed gives it again', () => {
  const probes = applicable(probesOf({}));

  assert.deepEqual(probes.map(({ detector }) => detector).sort(), [...DETECTOR_NAMES].sort());
  assert.deepEqual(probesOf({}), probes);
  for (const { detector, sequences } of probes) {
    assert.ok(sequences.length >= 20, detector);
    for (const { tokens, targets, labels } of sequences) {
      assert.ok(targets.length > 0, detector);
      assert.ok(tokens.length <= 256);
      assert.ok(labels === undefined || labels.length === tokens.length);
      for (const { position, sources } of targets) {
        assert.ok(position < tokens.length);
        assert.ok(
          sources.every((s) => s >= 0 && s <= position),
          detector,
        );
      }
    }
  }
});

test('everything that is encoded stands in the list of texts', () => {
  const texts = new Set(probeTexts(2));
  const encode = (text: string) => {
    assert.ok(texts.has(text), JSON.stringify(text));
    return world.encode(text);
  };

  assert.equal(applicable(probesOf({ encode })).length, DETECTOR_NAMES.length);
});

test('special tokens stand before every prompt and shift its labels', () => {
  const bos = world.id('<bos>');
  for (const { detector, sequences } of applicable(probesOf({ prefix: [bos] }))) {
    for (const { tokens, targets, prefix } of sequences) {
      assert.equal(tokens[0], bos);
      assert.equal(prefix, 1);
      assert.equal(tokens.indexOf(bos, 1), -1);
      for (const { position, sources } of targets) {
        assert.ok(position >= 1);
        if (detector !== 'sink') assert.ok(!sources.includes(0), detector);
      }
    }
  }
});

test('in a repeat the source is followed by nothing but the token that comes next, and distances differ', () => {
  const probe = applicable(probesOf({})).find(({ detector }) => detector === 'induction')!;
  const distances = new Set<number>();
  for (const { tokens, targets } of probe.sequences) {
    for (const { position, sources, raises } of targets) {
      const source = sources[0]!;
      distances.add(position - source);
      assert.equal(tokens[source], tokens[position + 1]);
      assert.equal(raises, tokens[position + 1]);
      assert.equal(
        tokens[source - 1],
        tokens[position],
        'the earlier occurrence stands before the source',
      );
    }
  }
  assert.ok(distances.size >= 4);
});

test('a vocabulary that lacks what a probe needs is told why, for each probe', () => {
  const bytes = (text: string) => [...text].map((c) => world.id(`byte ${c}`));
  const why = reasons({ encode: bytes });
  assert.match(why['arithmetic']!, /number from 0 to 99/);
  assert.match(why['name_mover']!, /only 0 of 256 IOI prompts/);
  assert.match(why['thematic_anchor']!, /only 0 topics/);
  assert.equal(why['induction'], undefined, 'random ids need no words');

  const words = (text: string) => [world.id(text.trim())];
  assert.match(reasons({ encode: words })['subtoken_induction']!, /cuts only 0 of/);
  // Letters are bytes: the list of letters alone would do, so a world without them has none.
  const pairs = (text: string) => [1, 2, ...bytes(text)];
  assert.match(reasons({ encode: pairs })['successor']!, /no list of days, months/);

  const short = reasons({ n_ctx: 24 });
  assert.match(short['thematic_anchor']!, /context of 24 is too short/);
  assert.match(short['induction']!, /no two copies/);
  assert.match(short['copy_suppression']!, /no two copies/);
  assert.throws(() => probesOf({ pool: [1, 2, 3] }), /64 different tokens/);
});

test('shuffled labels change what is right and nothing else', () => {
  for (const probe of applicable(probesOf({}))) {
    const control = shuffledProbe(probe, new Rng(3));
    assert.deepEqual(
      control.sequences.map(({ tokens }) => tokens),
      probe.sequences.map(({ tokens }) => tokens),
    );
    assert.deepEqual(
      control.sequences.map(({ targets }) => targets.map(({ position }) => position)),
      probe.sequences.map(({ targets }) => targets.map(({ position }) => position)),
    );
    assert.notDeepEqual(control.sequences, probe.sequences, probe.detector);
  }
});
