import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from './rng.ts';

test('the words of a seed are those of the reference implementation', () => {
  // xoshiro128** of Blackman & Vigna from state 1, 2, 3, 4, worked out with their C code's recurrence in bigints.
  const s = [1n, 2n, 3n, 4n];
  const mask = 0xffffffffn;
  const rotl = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & mask;
  const rng = Rng.restore({ words: [1, 2, 3, 4], spare: null });
  for (let i = 0; i < 1000; i++) {
    const expected = (rotl(((s[1] as bigint) * 5n) & mask, 7n) * 9n) & mask;
    const t = ((s[1] as bigint) << 9n) & mask;
    s[2] = (s[2] as bigint) ^ (s[0] as bigint);
    s[3] = (s[3] as bigint) ^ (s[1] as bigint);
    s[1] = (s[1] as bigint) ^ (s[2] as bigint);
    s[0] = (s[0] as bigint) ^ (s[3] as bigint);
    s[2] = (s[2] as bigint) ^ t;
    s[3] = rotl(s[3] as bigint, 11n);
    assert.equal(BigInt(rng.word()), expected);
  }
});

test('a restored generator goes on where the snapshot was taken, also between two normal deviates', () => {
  const rng = new Rng(7);
  rng.normal();
  const copy = Rng.restore(JSON.parse(JSON.stringify(rng.snapshot())));
  for (let i = 0; i < 100; i++) assert.equal(copy.normal(), rng.normal());
});

test('deviates have the moments of their distributions', () => {
  const rng = new Rng(1);
  const n = 200_000;
  let sum = 0;
  let squares = 0;
  let uniform = 0;
  for (let i = 0; i < n; i++) {
    const x = rng.normal();
    sum += x;
    squares += x * x;
    uniform += rng.uniform();
  }
  // Six standard errors: 1/√n for the mean, √(2/n) for the variance, 1/√(12 n) for the uniform mean.
  assert.ok(Math.abs(sum / n) < 6 / Math.sqrt(n));
  assert.ok(Math.abs(squares / n - 1) < 6 * Math.sqrt(2 / n));
  assert.ok(Math.abs(uniform / n - 0.5) < 6 / Math.sqrt(12 * n));
});

test('below(n) reaches every value and no other, and seeds differ in all their 53 bits', () => {
  const rng = new Rng(3);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 7000; i++) {
    const value = rng.below(7);
    counts[value] = (counts[value] ?? 0) + 1;
  }
  assert.equal(counts.length, 7);
  for (const count of counts) assert.ok(count > 800 && count < 1200, String(counts));
  assert.notEqual(new Rng(5).word(), new Rng(5 + 2 ** 33).word());
});

test('a shuffle is a permutation and leaves its input alone', () => {
  const items = [1, 2, 3, 4, 5, 6];
  const shuffled = new Rng(4).shuffle(items);
  assert.deepEqual(items, [1, 2, 3, 4, 5, 6]);
  assert.notDeepEqual(shuffled, items);
  assert.deepEqual(shuffled.toSorted(), items);
});
