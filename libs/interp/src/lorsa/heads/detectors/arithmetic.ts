import { PRIOR_ROWS } from '../limits.ts';
import { OPERANDS } from '../probes/sums.ts';

/** z at the "=" of a + b. */
export interface SumCell {
  readonly a: number;
  readonly b: number;
  readonly z: number;
}

export interface ArithmeticFit {
  /** Share of the variance of z(a, b) that one indicator function explains, 0 to 1. */
  readonly explained: number;
  /** What of it counts: all for a band or a comb, a quarter for a point. */
  readonly counted: number;
  readonly rule: string;
}

interface Axis {
  readonly name: string;
  readonly of: (cell: SumCell) => number;
  readonly size: number;
}

const AXES: readonly Axis[] = [
  { name: 'operand 1', of: ({ a }) => a, size: OPERANDS },
  { name: 'operand 2', of: ({ b }) => b, size: OPERANDS },
  { name: 'sum', of: ({ a, b }) => a + b, size: 2 * OPERANDS - 1 },
];
const MODULI = [2, 5, 10];
/**
 * One value alone is what any head gives that fires on a token, of a random model too: where it explains more than any band or
 * comb, it counts a quarter. A band has five values or more, so that one value alone looks like none.
 */
const BAND_LEAST = 5;
const POINT_CREDIT = 0.25;
/** Shares that differ by less are equal. */
const NAMED_INSIDE = 1e-9;

/**
 * *The indicator function that explains most of a heat map z(a, b)* (methods 1.12): a point x = v, a band lo ≤ x ≤ hi of at least five values, or a
 * comb x mod m = r with m 2, 5 or 10, of operand 1, operand 2 or their sum. Share of variance between inside and outside:
 * R² = n_in n_out (mean_in − mean_out)² / (n Σ (z − mean)²).
 * Of pure noise over 2,500 cells the best of the 30,000 functions explains about 1 %.
 */
export function arithmeticFit(cells: readonly SumCell[]): ArithmeticFit {
  const none = { explained: 0, counted: 0, rule: 'nothing' };
  const n = cells.length;
  const total = cells.reduce((sum, { z }) => sum + z, 0);
  const variance = cells.reduce((sum, { z }) => sum + (z - total / n) ** 2, 0);
  if (variance === 0) return none;
  let best: ArithmeticFit = none;
  const consider: Consider = (count, sum, credit, rule) => {
    if (count === 0 || count === n) return;
    const between = sum / count - (total - sum) / (n - count);
    const explained = (count * (n - count) * between ** 2) / (n * variance);
    // "Odd" and "not even" explain the same: the one inside which it is active has the better name.
    const inside = between * total >= 0;
    const share = Math.min(1, explained) * (inside ? 1 : 1 - NAMED_INSIDE);
    if (share <= best.explained + NAMED_INSIDE / 2) return;
    best = {
      explained: share,
      counted: credit * share,
      rule: inside ? rule() : `not where ${rule()}`,
    };
  };
  for (const { name, of, size } of AXES) {
    const counts = new Float64Array(size);
    const sums = new Float64Array(size);
    for (const cell of cells) {
      counts[of(cell)]++;
      sums[of(cell)] += cell.z;
    }
    for (const m of MODULI) considerCombs({ name, counts, sums, m }, consider);
    considerBands({ name, counts, sums }, consider);
  }
  return best;
}

interface Line {
  readonly name: string;
  readonly counts: Float64Array;
  readonly sums: Float64Array;
}

type Consider = (count: number, sum: number, credit: number, rule: () => string) => void;

function considerCombs(
  { name, counts, sums, m }: Line & { readonly m: number },
  consider: Consider,
): void {
  for (let r = 0; r < m; r++) {
    let [count, sum] = [0, 0];
    for (let x = r; x < counts.length; x += m) {
      count += counts[x];
      sum += sums[x];
    }
    const words =
      m === 10
        ? `${name} ends in ${r}`
        : m === 5
          ? `${name} ends in ${r} or ${r + 5}`
          : `${name} is ${r === 0 ? 'even' : 'odd'}`;
    consider(count, sum, 1, () => words);
  }
}

function considerBands({ name, counts, sums }: Line, consider: Consider): void {
  // What is left outside must be no point either.
  for (let width = 1; width <= counts.length - BAND_LEAST; width++) {
    if (width > 1 && width < BAND_LEAST) continue;
    const credit = width === 1 ? POINT_CREDIT : 1;
    let [count, sum] = [0, 0];
    for (let x = 0; x < counts.length; x++) {
      count += counts[x] - (x >= width ? counts[x - width] : 0);
      sum += sums[x] - (x >= width ? sums[x - width] : 0);
      if (x < width - 1) continue;
      const low = x - width + 1;
      consider(count, sum, credit, () =>
        width === 1 ? `${name} = ${x}` : `${name} in ${low}..${x}`,
      );
    }
  }
}

/**
 * *Arithmetic*: the counted variance explained of z(a, b) over the probe's sums, times active / (active + 4): a head that is active on
 * one sum has a map that anything explains.
 */
export const ARITHMETIC = {
  name: 'arithmetic',
  threshold: 0.45,
  what: 'its activations on a+b= follow a rule about the operands',
} as const;

export function arithmeticScore(fit: ArithmeticFit, active: number): number {
  return (fit.counted * active) / (active + PRIOR_ROWS);
}
