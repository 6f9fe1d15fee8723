/** Where the tour tells its story; the command line gives one that prints, `--json` one that is silent. */
export interface TourOutput {
  chapter(letter: string, title: string): void;
  line(text: string): void;
  table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void;
  /** How far the present chapter is; for a terminal. */
  progress(done: number, total: number, unit: string, message: string): void;
}

export const silent: TourOutput = {
  chapter: () => {},
  line: () => {},
  table: () => {},
  progress: () => {},
};

/** Three significant digits: a table of a tour is for eyes. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1);
  return value.toPrecision(3);
}

/** A token as it can be seen: quotes keep its spaces visible. */
export function visible(token: string): string {
  return JSON.stringify(token);
}

/** How well a sum of independently computed terms meets the value that the model computed. */
export function sumLine(
  what: string,
  sums: { readonly value: number; readonly sum: number; readonly terms_abs_sum: number },
): string {
  const off = Math.abs(sums.value - sums.sum);
  const share = off / sums.terms_abs_sum;
  const verdict = share <= 1e-4 ? 'within' : 'NOT WITHIN';
  return (
    `${what}: value ${figure(sums.value)}, Σ of its terms ${figure(sums.sum)}; ` +
    `|value − Σ| = ${figure(off)} is ${figure(share)} of Σ|terms| (${verdict} 1e-4)`
  );
}
