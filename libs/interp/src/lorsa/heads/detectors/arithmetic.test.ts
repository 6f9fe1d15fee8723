import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { arithmeticFit, arithmeticScore, type SumCell } from './arithmetic.ts';

/** Every indicator function one after the other, each from its definition. */
function slow(cells: readonly SumCell[]): { explained: number; counted: number } {
  const mean = (of: readonly SumCell[]) => of.reduce((sum, { z }) => sum + z, 0) / of.length;
  const spread = (of: readonly SumCell[]) => {
    const m = mean(of);
    return of.reduce((sum, { z }) => sum + (z - m) ** 2, 0);
  };
  const total = spread(cells);
  let best = { explained: 0, counted: 0 };
  const consider = (inside: (cell: SumCell) => boolean, credit: number) => {
    const [ins, out] = [cells.filter(inside), cells.filter((cell) => !inside(cell))];
    if (ins.length === 0 || out.length === 0) return;
    const explained = 1 - (spread(ins) + spread(out)) / total;
    if (explained > best.explained + 1e-12) best = { explained, counted: credit * explained };
  };
  const sum = (c: SumCell) => c.a + c.b;
  for (const axis of [(c: SumCell) => c.a, (c: SumCell) => c.b, sum]) {
    for (const m of [2, 5, 10]) for (let r = 0; r < m; r++) consider((c) => axis(c) % m === r, 1);
    for (let low = 0; low < 199; low++) {
      consider((c) => axis(c) === low, 0.25);
      const widest = axis === sum ? 199 - 5 : 100 - 5;
      for (let high = low + 4; high < Math.min(199, low + widest); high++)
        consider((c) => axis(c) >= low && axis(c) <= high, 1);
    }
  }
  return best;
}

function map(rng: Rng, count: number, z: (a: number, b: number) => number): SumCell[] {
  return Array.from({ length: count }, () => {
    const [a, b] = [rng.below(100), rng.below(100)];
    return { a, b, z: z(a, b) };
  });
}

test('the best indicator function is the one that a search through all of them finds', () => {
  const rng = new Rng(1);
  for (const z of [
    () => rng.normal(),
    (a: number) => (a > 60 ? 1 : 0) + 0.5 * rng.normal(),
    (a: number, b: number) => ((a + b) % 5 === 2 ? 1 : 0) + 0.2 * rng.normal(),
  ]) {
    const cells = map(rng, 40, z);
    const [fast, expected] = [arithmeticFit(cells), slow(cells)];
    assert.ok(Math.abs(fast.explained - expected.explained) < 1e-8);
    assert.ok(Math.abs(fast.counted - expected.counted) < 1e-8);
  }
});

test('bands, combs and sums are named, and explain all of a map that is one', () => {
  const rng = new Rng(2);
  const fit = (z: (a: number, b: number) => boolean) =>
    arithmeticFit(map(rng, 3000, (a, b) => (z(a, b) ? 2 : 0)));
  for (const [z, rule] of [
    [(a: number) => a >= 27 && a <= 43, 'operand 1 in 27..43'],
    [(_: number, b: number) => b % 10 === 2, 'operand 2 ends in 2'],
    [(a: number, b: number) => (a + b) % 5 === 3, 'sum ends in 3 or 8'],
    [(_: number, b: number) => b % 2 === 1, 'operand 2 is odd'],
    [(a: number, b: number) => a + b >= 90 && a + b <= 110, 'sum in 90..110'],
    [(a: number) => a < 20 || a > 60, 'not where operand 1 in 20..60'],
  ] as const) {
    const found = fit(z);
    assert.equal(found.rule, rule);
    assert.ok(found.counted > 1 - 1e-8 && found.explained <= 1);
  }
});

test('one value is named and counts a quarter', () => {
  const { explained, counted, rule } = arithmeticFit(
    map(new Rng(3), 3000, (a) => (a === 36 ? 1 : 0)),
  );

  assert.equal(rule, 'operand 1 = 36');
  assert.ok(Math.abs(explained - 1) < 1e-9);
  assert.ok(Math.abs(counted - 0.25) < 1e-9);
});

test('noise and constants explain nothing, and few active sums count little', () => {
  const rng = new Rng(4);
  assert.ok(arithmeticFit(map(rng, 2500, () => rng.normal())).explained < 0.02);
  assert.equal(arithmeticFit(map(rng, 100, () => 1)).explained, 0);
  assert.equal(arithmeticScore({ explained: 1, counted: 1, rule: '' }, 1), 0.2);
});
