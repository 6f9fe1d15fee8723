import { facts, showNumber, table } from './show.ts';

/** What `lorsa.train` found, as far as it is shown. */
export interface TrainSummary {
  readonly layer: number;
  readonly fvu: number;
  readonly l0: number;
  readonly top_k: number;
  readonly heads: number;
  readonly dead_heads: number;
  readonly dead_after_tokens: number;
  readonly dense_heads: number;
  readonly loss: number;
  readonly steps: number;
  readonly tokens: number;
  readonly train_tokens: number;
  readonly held_out_tokens: number;
  readonly documents: number;
  readonly backend: string;
  readonly backend_reason?: string;
  readonly init: string;
  readonly seconds: number;
  readonly tokens_per_second: number;
}

const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const share = (part: number, whole: number): string =>
  whole > 0 ? ` (${((100 * part) / whole).toFixed(1)} %)` : '';

/** A finished training: how good it is, on what, and what to do next. */
export function showTraining(
  job: string,
  s: TrainSummary,
  file: string | undefined,
  heddle = 'heddle',
): string {
  const lines = facts([
    ['layer', s.layer],
    [
      'FVU',
      `${showNumber(s.fvu)} on ${count(s.held_out_tokens)} tokens held out (loss ${showNumber(s.loss)})`,
    ],
    ['L0', `${showNumber(s.l0)} of at most ${s.top_k}`],
    ['heads', `${count(s.heads)}, started as ${s.init}`],
    [
      'dead',
      `${s.dead_heads}${share(s.dead_heads, s.heads)}, silent for ${count(s.dead_after_tokens)} tokens`,
    ],
    [
      'dense',
      `${s.dense_heads}${share(s.dense_heads, s.heads)}, active on more than a tenth of the tokens`,
    ],
    [
      'trained',
      `${count(s.steps)} steps, ${count(s.tokens)} tokens (${count(s.documents)} documents with ${count(s.train_tokens)})`,
    ],
    [
      'speed',
      `${count(s.tokens_per_second)} tokens/s, ${showNumber(s.seconds)} s, backend ${s.backend}${s.backend_reason ? `: ${s.backend_reason}` : ''}`,
    ],
  ]);
  const run = file ?? job;
  const poor =
    s.fvu >= 1 ? '\nit explains less than the mean output would: lower --lr, or train longer' : '';
  const next = [
    `look at its heads: ${heddle} lorsa analyse ${job}`,
    `measure it in the model: ${heddle} lorsa eval ${job}`,
    `use it: ${heddle} lorsa apply ${run} --input F.safetensors --out F`,
  ];
  return `${lines}${poor}\n${next.join('\n')}`;
}

/** What `lorsa.sweep` found. */
export interface SweepSummary {
  readonly points: readonly {
    readonly layer: number;
    readonly n_ov_heads: number;
    readonly top_k: number;
    readonly seed: number;
    readonly job: string;
    readonly fvu: number | null;
    readonly l0: number | null;
    readonly dead_heads: number | null;
    readonly loss: number | null;
    readonly seconds: number | null;
    readonly error: string;
  }[];
  readonly trained: number;
  readonly failed: number;
}

/** The table of a sweep, and which of its points is best on each layer. */
export function showSweep({ points, trained, failed }: SweepSummary): string {
  const head = ['layer', 'heads', 'K', 'seed', 'FVU', 'L0', 'dead', 'loss', 'seconds', 'job'];
  const rows = points.map((point) => [
    point.layer,
    orDefault(point.n_ov_heads),
    orDefault(point.top_k),
    point.seed,
    showNumber(point.fvu),
    showNumber(point.l0),
    showNumber(point.dead_heads),
    showNumber(point.loss),
    point.seconds === null ? '-' : point.seconds.toFixed(1),
    point.error === '' ? point.job : `${point.job}: ${point.error}`,
  ]);
  const layers = [...new Set(points.map(({ layer }) => layer))];
  const best = layers.flatMap((layer) => {
    const [first] = points
      .filter((point) => point.layer === layer && point.fvu !== null)
      .sort((a, b) => (a.fvu ?? 0) - (b.fvu ?? 0));
    return first ? [`layer ${layer}: ${first.job} (FVU ${showNumber(first.fvu)})`] : [];
  });
  const ended = failed > 0 ? `${trained} trained, ${failed} failed` : `${trained} trained`;
  return `${table(head, rows)}\n${ended}; least FVU: ${best.join('; ') || 'none'}`;
}

const orDefault = (size: number): string => (size === 0 ? 'default' : `${size}`);
