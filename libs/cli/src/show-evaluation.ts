import { showNumber, table } from './show.ts';

/** The summary of a `lorsa.evaluate` job, as far as it is shown. */
export interface EvaluationSummary {
  readonly checkpoint: string;
  readonly model: string;
  readonly hook_out: string;
  readonly heads: number;
  readonly top_k: number;
  readonly text: {
    readonly source: 'held-out' | 'given' | 'generated';
    readonly tokens: number;
    readonly documents: number;
    readonly documents_left_out: number;
    readonly trained_on_known: boolean;
  };
  readonly downstream: { readonly predictions: number; readonly every_nth_sequence: number };
  readonly rows: readonly EvaluationRow[];
  readonly fvu_at_k: readonly KPoint[];
  readonly baseline: string | null;
  readonly training: { readonly dead_heads?: number; readonly dead_after_tokens?: number } | null;
}

type Figure = number | null;

interface EvaluationRow {
  readonly name: string;
  readonly fvu: Figure;
  readonly fvu_error: Figure;
  readonly ev: Figure;
  readonly relative_l2: Figure;
  readonly l0: Figure;
  readonly dead: Figure;
  readonly dead_share: Figure;
  readonly ce: Figure;
  readonly ce_increase: Figure;
  readonly ce_increase_error: Figure;
  readonly loss_recovered: Figure;
  readonly loss_recovered_error: Figure;
}

interface KPoint {
  readonly top_k: number;
  readonly fvu: Figure;
  readonly fvu_error: Figure;
  readonly l0: Figure;
  readonly sae_fvu: Figure;
  readonly sae_l0: Figure;
}

const NAMES: Readonly<Record<string, string>> = {
  original: 'the layer itself',
  lorsa: 'Lorsa',
  sae: 'TopK SAE',
  mean: 'mean of y',
  zero: 'nothing',
};

const HEAD = ['', 'FVU', 'EV', 'rel. L2', 'L0', 'dead', 'CE', 'CE increase', 'loss recovered'];

/** An evaluation for eyes: what stands in the layer's place, a row each; then FVU over K; then what it was measured on. */
export function showEvaluation(summary: EvaluationSummary): string {
  const { heads, top_k, hook_out, model, rows, fvu_at_k } = summary;
  const host = model === '' ? 'the bundled model' : model;
  const title = `${hook_out} of ${host} by ${heads} heads, K ${top_k}`;
  const body = table(HEAD, rows.map(cells));
  const curve =
    fvu_at_k.length > 1 ? ['', 'with another K, the weights unchanged:', kTable(fvu_at_k)] : [];
  return [title, '', body, ...curve, '', ...notes(summary)].join('\n');
}

function cells(row: EvaluationRow): string[] {
  const dead =
    row.dead === null || row.dead_share === null
      ? '-'
      : `${row.dead} (${(100 * row.dead_share).toFixed(1)} %)`;
  return [
    NAMES[row.name] ?? row.name,
    withError(row.fvu, row.fvu_error),
    rounded(row.ev),
    rounded(row.relative_l2),
    row.l0 === null ? '-' : row.l0.toFixed(1),
    dead,
    rounded(row.ce),
    withError(row.ce_increase, row.ce_increase_error),
    withError(row.loss_recovered, row.loss_recovered_error),
  ];
}

function kTable(points: readonly KPoint[]): string {
  const isCompared = points.some(({ sae_fvu }) => sae_fvu !== null);
  const head = ['K', 'FVU', 'L0', ...(isCompared ? ['SAE FVU', 'SAE L0'] : [])];
  const rows = points.map(({ top_k, fvu, fvu_error, l0, sae_fvu, sae_l0 }) => [
    `${top_k}`,
    withError(fvu, fvu_error),
    l0 === null ? '-' : l0.toFixed(1),
    ...(isCompared ? [rounded(sae_fvu), sae_l0 === null ? '-' : sae_l0.toFixed(1)] : []),
  ]);
  return table(head, rows);
}

const SOURCES = {
  'held-out': 'held out of its training',
  given: 'of the text that was given',
  generated: 'of generated text',
} as const;

function notes({ text, downstream, training, baseline }: EvaluationSummary): string[] {
  const { tokens, documents, documents_left_out: left } = text;
  const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? '' : 's'}`;
  const lines = [
    `measured on ${count(tokens, 'token')} of ${count(documents, 'document')}, ${SOURCES[text.source]}; CE in nats over ${count(downstream.predictions, 'prediction')}`,
  ];
  if (downstream.every_nth_sequence > 1) {
    lines.push(`CE: every ${ordinal(downstream.every_nth_sequence)} sequence`);
  }
  lines.push('±: one standard error over documents; dead: silent on this text');
  if (left > 0) lines.push(`left out: ${count(left, 'document')} that the training saw`);
  if (!text.trained_on_known) lines.push('nobody knows what this checkpoint was trained on');
  if (training?.dead_heads !== undefined) {
    lines.push(
      `dead at the end of the training: ${training.dead_heads} (silent for ${showNumber(training.dead_after_tokens)} tokens)`,
    );
  }
  if (baseline) lines.push(`the SAE is job ${baseline}`);
  return lines;
}

const ordinal = (n: number): string => `${n}${n === 2 ? 'nd' : n === 3 ? 'rd' : 'th'}`;

/** Three places after the point; what would show as zero there in powers of ten. */
function rounded(value: Figure): string {
  if (value === null) return '-';
  if (value === 0 || Math.abs(value) >= 5e-4) return value.toFixed(3);
  return value.toExponential(1);
}

/** `0.083 ±0.002`, to the error's first digit; no error where there is none or it says nothing. */
function withError(value: Figure, error: Figure): string {
  if (value === null || error === null || error === 0) return rounded(value);
  const places = Math.min(PLACES_MAX, Math.max(3, Math.ceil(-Math.log10(error))));
  return `${value.toFixed(places)} ±${error.toFixed(places)}`;
}

/** Enough for what single precision leaves of an exact replacement. */
const PLACES_MAX = 7;
