/** A slip of the pen: a letter too many, too few, another, or two that changed places, so often at most. */
const SLIPS_MAX = 2;

/** Which of the known names was likely meant; undefined for what resembles none. */
export function likeliest(name: string, known: readonly string[]): string | undefined {
  const upper = name.toUpperCase();
  const near = known
    .map((each) => ({ each, slips: slipsBetween(upper, each) }))
    .filter(({ slips }) => slips <= SLIPS_MAX)
    .sort((a, b) => a.slips - b.slips);
  if (near[0] !== undefined) return near[0].each;
  // Too long by a word (…_NATS_URL), of names that end where a word does.
  const begun = known.filter((each) => upper.startsWith(`${each}_`));
  return begun.sort((a, b) => b.length - a.length)[0];
}

/** Edit distance with transpositions of neighbours (Damerau and Levenshtein, restricted), by rows. */
function slipsBetween(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > SLIPS_MAX) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let slips = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) slips = Math.min(slips, (before[j - 2] ?? 0) + 1);
      next.push(slips);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
