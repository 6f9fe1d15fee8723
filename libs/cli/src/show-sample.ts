import type { HeadSample } from '@heddle/ports/proto/lorsa';
import { showNumber } from './show.ts';
import {
  columnsOf,
  cutTo,
  MARK_MIN,
  type Painter,
  type ShadedToken,
  tokenAlone,
} from './show-tokens.ts';

/** What a card is printed on. */
export interface Paper {
  /** Columns that a line may take. */
  readonly columns: number;
  readonly painter: Painter;
}

/** Lines that the context of one sample may take. */
const CONTEXT_LINES = 3;
/** Tokens kept on each side of one that matters, at first; fewer where the line is narrow. */
const REACH = 12;
/** Sources named under a context. */
const SOURCES = 4;
/** Attention below this is not worth a name. */
const ATTENTION_MIN = 0.05;

const GAP = ' … ';

/**
 * One sample as lines: where and how much (`strongest`: the head's largest activation), the context shaded by the z-pattern (long ones elided around what matters),
 * then in numbers from where the activation comes and where the head looks.
 */
export function sampleLines(
  sample: HeadSample,
  strongest: number,
  { painter, columns }: Paper,
): string[] {
  const { position, activation, tokens } = sample;
  const indent = '    ';
  const place = `position ${position} of ${tokens.length}`;
  const head = `${painter.strong(showNumber(activation))}  ${painter.faint(`${rank(sample, strongest)}, ${place}`)}`;
  const context = contextLines(sample, painter, columns - indent.length);
  const shares = sample.z_pattern.map(shareOf(sample));
  const room = columns - indent.length - 'looks '.length;
  const sources = [
    `${painter.faint('from ')} ${sourcesOf(sample, shares, MARK_MIN, room)}`,
    `${painter.faint('looks')} ${sourcesOf(sample, sample.pattern, ATTENTION_MIN, room)}`,
  ];
  return [`  ${head}`, ...[...context, ...sources].map((line) => `${indent}${line}`)];
}

/** `strongest`, or which share of the head's activations are smaller. */
function rank({ activation, quantile }: HeadSample, strongest: number): string {
  if (Math.abs(activation) >= Math.abs(strongest)) return 'strongest';
  if (quantile >= 0.995) return 'among the strongest';
  return `stronger than ${(100 * quantile).toFixed(0)} %`;
}

const shareOf =
  ({ activation }: HeadSample) =>
  (z: number): number =>
    activation === 0 ? 0 : z / activation;

/** `␣Mary@3 0.92 · …`, largest first. */
function sourcesOf(
  { tokens, position }: HeadSample,
  values: readonly number[],
  least: number,
  columns: number,
): string {
  const order = values
    .map((value, at) => ({ value, at }))
    .filter(({ value }) => Math.abs(value) >= least)
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value) || a.at - b.at);
  if (order.length === 0) return 'spread: no token has a twentieth';
  const named = order.slice(0, SOURCES).map(({ value, at }) => {
    const back = at === position ? 'itself' : `${at - position}`;
    return `${tokenAlone(tokens[at] ?? '')} (${back}) ${value.toFixed(2)}`;
  });
  for (let count = named.length; count > 1; count--) {
    const more = order.length > count ? ` · ${order.length - count} more` : '';
    const line = `${named.slice(0, count).join(' · ')}${more}`;
    if (columnsOf(line) <= columns) return line;
  }
  return cutTo(named[0] ?? '', columns);
}

/** The context as wrapped lines: all of it where it fits, else what lies around the tokens that matter. */
function contextLines(sample: HeadSample, painter: Painter, columns: number): string[] {
  const { tokens, position, z_pattern, pattern } = sample;
  const share = shareOf(sample);
  const shaded = tokens.map((text, at): ShadedToken => {
    return { text, share: share(z_pattern[at] ?? 0), query: at === position };
  });
  const matters = shaded.map(
    (token, at) =>
      token.query || Math.abs(token.share) >= MARK_MIN || (pattern[at] ?? 0) >= 4 * ATTENTION_MIN,
  );
  const width = Math.max(20, columns);
  for (let reach = tokens.length; reach >= 0; reach = Math.min(reach - 1, REACH)) {
    const lines = wrapped(shaded, kept(matters, reach), painter, width);
    if (lines.length <= CONTEXT_LINES || reach === 0) return lines;
  }
  return [];
}

/** Which tokens lie within `reach` of one that matters. */
function kept(matters: readonly boolean[], reach: number): readonly boolean[] {
  const keep = matters.map(() => false);
  matters.forEach((matter, at) => {
    if (matter) keep.fill(true, Math.max(0, at - reach), at + reach + 1);
  });
  return keep;
}

function wrapped(
  tokens: readonly ShadedToken[],
  keep: readonly boolean[],
  painter: Painter,
  columns: number,
): string[] {
  const lines: string[] = [];
  let line = '';
  let used = 0;
  const put = (text: string, width: number) => {
    if (used > 0 && used + width > columns) {
      lines.push(line);
      line = '';
      used = 0;
    }
    line += text;
    used += width;
  };
  tokens.forEach((token, at) => {
    if (keep[at]) put(painter.paint(token), painter.columns(token));
    else if (at === 0 || keep[at - 1]) put(painter.faint(GAP), GAP.length);
  });
  if (used > 0) lines.push(line);
  return lines;
}
