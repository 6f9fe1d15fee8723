/** One line of a benchmark: several samples of one quantity. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Ratios carry one, absolute numbers none: machines differ. */
  readonly target: number | null;
  readonly meets: boolean | null;
}

export interface Sampled {
  readonly unit: string;
  readonly samples: readonly number[];
  /** The median is to be at least this … */
  readonly target?: number | null;
  /** … or at most. */
  readonly atMost?: boolean;
}

export function figure(
  name: string,
  { unit, samples, target = null, atMost = false }: Sampled,
): Figure {
  const m = median(samples);
  return {
    name,
    unit,
    median: m,
    min: Math.min(...samples),
    max: Math.max(...samples),
    target,
    meets: target === null ? null : atMost ? m <= target : m >= target,
  };
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}
