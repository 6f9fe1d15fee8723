export interface MutantResult {
  readonly number: number;
  readonly what: string;
  readonly decodable: boolean;
  readonly outcome: string;
  readonly wrong: boolean;
  readonly text: string;
  readonly rssBytes?: number;
}

/** From the environment: the seed, and which mutants of it. */
export function fuzzSettings(count: number): { seed: number; numbers: readonly number[] } {
  const { HEDDLE_FUZZ_SEED = '1', HEDDLE_FUZZ_COUNT, HEDDLE_FUZZ_ONE } = process.env;
  const seed = Number(HEDDLE_FUZZ_SEED);
  if (HEDDLE_FUZZ_ONE !== undefined) return { seed, numbers: [Number(HEDDLE_FUZZ_ONE)] };
  return { seed, numbers: Array.from({ length: Number(HEDDLE_FUZZ_COUNT ?? count) }, (_, i) => i) };
}

/** Failures that are listed; after so many the first ones say enough. */
const FAILURES_SHOWN = 20;

/** Counts mutants by outcome. */
export class MutantTally {
  readonly failures: string[] = [];
  private readonly title: string;
  private readonly outcomes = new Map<string, { valid: number; broken: number }>();
  private readonly rss: number[] = [];
  private total = 0;
  private decodable = 0;

  constructor(title: string) {
    this.title = title;
  }

  add(result: MutantResult): void {
    const { number, what, outcome, wrong, text, decodable, rssBytes } = result;
    const row = this.outcomes.get(outcome) ?? { valid: 0, broken: 0 };
    row[decodable ? 'valid' : 'broken']++;
    this.outcomes.set(outcome, row);
    this.total++;
    if (decodable) this.decodable++;
    if (rssBytes !== undefined) this.rss.push(rssBytes);
    if (wrong && this.failures.length < FAILURES_SHOWN) {
      this.failures.push(`${this.title}, mutant ${number}: ${what}\n  ${outcome}: ${text}`);
    }
  }

  count(outcome: string): number {
    const { valid = 0, broken = 0 } = this.outcomes.get(outcome) ?? {};
    return valid + broken;
  }

  get decodableShare(): number {
    return this.decodable / this.total;
  }

  /** Median of the last tenth minus median of the third tenth: by then caches are full and code is compiled. */
  get rssGrowthBytes(): number {
    const tenth = Math.floor(this.rss.length / 10);
    if (tenth === 0) return 0;
    return median(this.rss.slice(-tenth)) - median(this.rss.slice(2 * tenth, 3 * tenth));
  }

  table(): string {
    const rows = [...this.outcomes].sort(([a], [b]) => (a < b ? -1 : 1));
    const lines = rows.map(
      ([outcome, { valid, broken }]) =>
        `  ${outcome.padEnd(32)} ${`${valid + broken}`.padStart(6)}  (${valid} decodable, ${broken} not)`,
    );
    const growth = (this.rssGrowthBytes / 2 ** 20).toFixed(1);
    const tenths = Array.from({ length: 10 }, (_, i) => {
      const at = Math.floor((i * this.rss.length) / 10);
      return ((this.rss[at] ?? 0) / 2 ** 20).toFixed(0);
    });
    const head = `${this.title}: ${this.total} mutants; RSS ${tenths.join(' ')} MiB, grew by ${growth}`;
    return [head, ...lines].join('\n');
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
