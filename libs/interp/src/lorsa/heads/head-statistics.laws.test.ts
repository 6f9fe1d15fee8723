import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { forEachActive, type HeadSequence, HeadStatistics, zRow } from './index.ts';
import { KeptEvents } from './kept-events.ts';
import { TokenCounts } from './token-counts.ts';

const HEADS = 6;
const SIZES = { heads: HEADS, samples: 5, reservoir: 12, tokens: 40, seed: 3 };

/** Random activity with few different values, so that ties are common; whole numbers, so that sums are exact. */
function randomText(seed: number, sequences: number): HeadSequence[] {
  const rng = new Rng(seed);
  return Array.from({ length: sequences }, (_, index) => {
    const length = 3 + rng.below(6);
    const slots = 2;
    const qkHeads = 2;
    const pattern = new Float64Array(qkHeads * length * length);
    for (let row = 0; row < qkHeads * length; row++) {
      for (let s = 0; s <= row % length; s++) pattern[row * length + s] = 2 ** -rng.below(3);
    }
    const winners = Array.from({ length }, () =>
      rng.shuffle([0, 1, 2, 3, 4]).slice(0, slots),
    ).flat();
    return {
      index,
      tokens: Array.from({ length }, () => rng.below(30)),
      valid: Array.from({ length }, (_, t) => (t === 0 ? 0 : 1)),
      slots,
      winners,
      acts: winners.map(() => rng.below(4)),
      attention: {
        pattern,
        values: Float64Array.from({ length: length * HEADS }, () => rng.below(4)),
        pos: length,
        qkHeads,
        ovHeads: HEADS,
      },
    };
  });
}

interface Seen {
  readonly activation: number;
  readonly sequence: number;
  readonly position: number;
  readonly token: number;
}

function eventsOf(text: readonly HeadSequence[], wanted: number): Seen[] {
  return text.flatMap((sequence) => {
    const out: Seen[] = [];
    forEachActive(sequence, (head, position, activation) => {
      if (head !== wanted) return;
      out.push({
        activation,
        sequence: sequence.index,
        position,
        token: sequence.tokens[position]!,
      });
    });
    return out;
  });
}

function gathered(text: readonly HeadSequence[]): HeadStatistics {
  const statistics = new HeadStatistics(SIZES);
  for (const sequence of text) statistics.add(sequence);
  return statistics;
}

/** Everything that can be asked, with sums that are exact in these texts and shares rounded past the last bit. */
function answers(of: HeadStatistics) {
  return Array.from({ length: HEADS }, (_, head) => ({
    count: of.count(head),
    frequency: of.frequency(head),
    mean: of.mean(head),
    deviation: of.deviation(head),
    max: of.max(head),
    top: of.top(head),
    drawn: of.quantileSamples(head, 6),
    fires: of.firesOn(head),
    reads: of
      .readsFrom(head)
      .map((w) => [w.token, w.count, w.weight.toFixed(9)])
      .sort(),
    distances: [...of.distances(head)].map((share) => share.toFixed(9)),
  }));
}

test('statistics equal those of a slow count over all events at once', () => {
  const text = randomText(1, 40);
  const statistics = gathered(text);
  const tokens = text.reduce((n, s) => n + s.tokens.length - 1, 0);

  assert.equal(statistics.tokens, tokens);
  for (let head = 0; head < HEADS; head++) {
    const events = eventsOf(text, head);
    const total = events.reduce((sum, e) => sum + e.activation, 0);
    assert.equal(statistics.count(head), events.length);
    assert.equal(statistics.frequency(head), events.length / tokens);
    if (events.length === 0) continue;
    assert.equal(statistics.mean(head), total / events.length);
    assert.equal(statistics.max(head), Math.max(...events.map((e) => e.activation)));
    const best = [...events].sort(
      (a, b) => b.activation - a.activation || a.sequence - b.sequence || a.position - b.position,
    );
    assert.deepEqual(
      statistics
        .top(head)
        .map(({ activation, sequence, position }) => [activation, sequence, position]),
      best
        .slice(0, 5)
        .map(({ activation, sequence, position }) => [activation, sequence, position]),
    );
    for (const { token, weight, count, error } of statistics.firesOn(head)) {
      const there = events.filter((e) => e.token === token);
      assert.equal(error, 0);
      assert.equal(count, there.length);
      const share = there.reduce((sum, e) => sum + e.activation, 0) / total;
      assert.ok(Math.abs(weight - share) < 1e-12);
    }
  }
  assert.equal(statistics.count(5), 0, 'head 5 never wins in these texts');
});

test('sources are those of the z-patterns: shares of what pulls the way of the activation, by token and by distance', () => {
  const text = randomText(2, 25);
  const statistics = gathered(text);

  for (let head = 0; head < 5; head++) {
    const byToken = new Map<number, number>();
    let total = 0;
    let nearest = 0;
    for (const sequence of text) {
      forEachActive(sequence, (active, position) => {
        if (active !== head) return;
        const { zPattern } = zRow(sequence.attention!, head, position);
        const sum = zPattern.reduce((a, b) => a + b, 0);
        if (sum === 0) return;
        total++;
        nearest += zPattern[position]! / sum;
        zPattern.forEach((value, s) => {
          if (value / sum < 0.1) return;
          const token = sequence.tokens[s]!;
          byToken.set(token, (byToken.get(token) ?? 0) + value / sum);
        });
      });
    }
    const counted = [...byToken.values()].reduce((a, b) => a + b, 0);
    for (const { token, weight } of statistics.readsFrom(head)) {
      assert.ok(Math.abs(weight - byToken.get(token)! / counted) < 1e-9);
    }
    assert.ok(Math.abs(statistics.distances(head)[0]! - nearest / total) < 1e-9);
  }
});

test('any split of a text and any order of its sequences give the same statistics', () => {
  const text = randomText(3, 60);
  const whole = answers(gathered(text));

  for (const cut of [1, 17, 59]) {
    const first = gathered(text.slice(0, cut));
    first.merge(gathered(text.slice(cut)));
    assert.deepEqual(answers(first), whole);
  }
  assert.deepEqual(answers(gathered(new Rng(1).shuffle(text))), whole);
});

test('statistics that were written and read go on to the same bits', () => {
  const text = randomText(4, 50);
  const half = gathered(text.slice(0, 20));

  const resumed = HeadStatistics.decode(half.encode());
  for (const sequence of text.slice(20)) {
    half.add(sequence);
    resumed.add(sequence);
  }

  assert.deepEqual(resumed.encode(), half.encode());
  assert.deepEqual(answers(resumed), answers(half));
  assert.throws(() => HeadStatistics.decode(half.encode().slice(0, 900)), /damaged/);
});

test('quantile samples are spread evenly below the top ones, and each says its quantile', () => {
  const acts = new Rng(9).shuffle(Array.from({ length: 4000 }, (_, i) => (i + 1) / 4000));
  const sequence: HeadSequence = {
    index: 0,
    tokens: acts.map(() => 1),
    valid: acts.map(() => 1),
    slots: 1,
    winners: acts.map(() => 0),
    acts,
  };
  const statistics = new HeadStatistics({ heads: 1, samples: 8, reservoir: 256, seed: 0 });
  statistics.add(sequence);

  const samples = statistics.quantileSamples(0, 8);

  assert.equal(samples.length, 8);
  samples.forEach(({ activation, quantile }, j) => {
    // 256 drawn of 4000: a quantile's standard error is 0.03; four of them.
    assert.ok(Math.abs(activation - (1 - (j + 0.5) / 8)) < 0.125, `${j}: ${activation}`);
    assert.ok(Math.abs(quantile - activation) < 0.125);
  });
  assert.deepEqual(
    statistics.top(0).map(({ activation }) => Math.round(activation * 4000)),
    [4000, 3999, 3998, 3997, 3996, 3995, 3994, 3993],
  );
  const places = [...statistics.top(0), ...samples].map(({ position }) => position);
  assert.equal(new Set(places).size, 16, 'no sample stands there twice');
});

test('drawing keeps every event equally often', () => {
  const hits = new Float64Array(20);
  for (let seed = 0; seed < 2000; seed++) {
    const statistics = new HeadStatistics({ heads: 1, samples: 0, reservoir: 5, seed });
    const acts = Array.from({ length: 20 }, (_, t) => t + 1);
    const all = { tokens: acts, valid: acts, winners: acts.map(() => 0), acts };
    statistics.add({ index: 7, slots: 1, ...all });
    for (const { position } of statistics.quantileSamples(0, 5)) hits[position]!++;
  }
  // Each is kept with probability 1/4: 500 ± 19; five of them.
  hits.forEach((count, position) => {
    assert.ok(Math.abs(count - 500) < 97, `${position}: ${count}`);
  });
});

test('equal keys keep the earlier place, whatever came first', () => {
  const places = [
    [2, 1],
    [0, 9],
    [0, 3],
    [1, 0],
  ] as const;
  for (const order of [places, [...places].reverse()]) {
    const kept = new KeptEvents(1, 3);
    for (const [sequence, position] of order) kept.insert(0, 1, 5, sequence, position);
    assert.deepEqual(
      kept.of(0).map(({ sequence, position }) => [sequence, position]),
      [
        [0, 3],
        [0, 9],
        [1, 0],
      ],
    );
  }
});

test('over-full token counts keep every heavy token, and the truth lies within the stated error', () => {
  const rng = new Rng(11);
  const capacity = 10;
  const parts = [new TokenCounts(1, capacity), new TokenCounts(1, capacity)];
  const whole = new TokenCounts(1, capacity);
  const truth = new Map<number, number>();
  let total = 0;
  for (let i = 0; i < 5000; i++) {
    const token = rng.uniform() < 0.5 ? rng.below(3) : 3 + rng.below(200);
    const weight = 1 + rng.below(3);
    total += weight;
    truth.set(token, (truth.get(token) ?? 0) + weight);
    whole.add(0, token, weight);
    parts[i % 2]!.add(0, token, weight);
  }
  parts[0]!.merge(parts[1]!);

  for (const [counts, bound] of [
    [whole, 1 / capacity],
    [parts[0]!, 1 / capacity],
  ] as const) {
    const found = counts.of(0);
    assert.equal(counts.total(0), total);
    for (const heavy of [0, 1, 2]) assert.ok(found.some(({ token }) => token === heavy));
    for (const { token, weight, error } of found) {
      const share = truth.get(token)! / total;
      assert.ok(share <= weight + 1e-12, `${token}`);
      assert.ok(share >= weight - error - 1e-12, `${token}`);
      assert.ok(error <= bound, `${error}`);
    }
  }
});

test('a token that the other part has dropped may have weighed there what its least one does, and that is said', () => {
  const [one, other] = [new TokenCounts(1, 2), new TokenCounts(1, 2)];
  one.add(0, 7, 10);
  one.add(0, 8, 4);
  for (const token of [7, 1, 1, 2, 2]) other.add(0, token, 3); // 7 is dropped for 2
  assert.deepEqual(
    other
      .of(0)
      .map(({ token }) => token)
      .sort(),
    [1, 2],
  );

  one.merge(other);

  const total = 14 + 15;
  const [first] = one.of(0);
  assert.equal(first?.token, 7);
  assert.ok(first.weight >= 13 / total, 'it weighed 13');
  assert.ok(first.weight - first.error <= 13 / total);
  assert.equal(one.total(0), total);
});
