import type {
  DescribeHeadResponse,
  DetectorScore,
  HeadRule,
  HeadSummary,
  WeightedToken,
} from '@heddle/ports/proto/lorsa';
import { showNumber, table } from './show.ts';
import { type Paper, sampleLines } from './show-sample.ts';
import { columnsOf, cutTo, MARKS, SHADES, tokenAlone } from './show-tokens.ts';

/** Where stdout is no terminal: lines that a mail or a report can take. */
const COLUMNS_ELSEWHERE = 100;
/** Narrower than this nothing fits anyway. */
const COLUMNS_MIN = 60;

/** Shades on a terminal, unless NO_COLOR asks for none (no-color.org); marks elsewhere. */
export function paperOf(
  stdoutColumns: number | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Paper {
  const isPlain = stdoutColumns === undefined || (environment['NO_COLOR'] ?? '') !== '';
  const columns = Math.max(COLUMNS_MIN, stdoutColumns ?? COLUMNS_ELSEWHERE);
  return { columns, painter: isPlain ? MARKS : SHADES };
}

const percent = (share: number): string => {
  const value = 100 * share;
  if (value === 0) return '0 %';
  return value < 0.01 ? '<0.01 %' : `${value.toPrecision(value >= 10 ? 3 : 2)} %`;
};

const area = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(2));

/** The detector by which a head is called something: the furthest above its threshold, else the one nearest to it. */
export function bestDetector({ scores }: Pick<HeadSummary, 'scores'>): DetectorScore | undefined {
  const margin = ({ score, threshold }: DetectorScore) => score - threshold;
  return [...scores].sort((a, b) => margin(b) - margin(a))[0];
}

const isCalled = ({ score, threshold }: DetectorScore): boolean => score > threshold;
/** A detector that comes at least half way to its threshold. */
const worthNaming = (best: DetectorScore | undefined): DetectorScore | undefined =>
  best && best.score >= best.threshold / 2 ? best : undefined;

const named = (detector: string): string => detector.replaceAll('_', ' ');

/** Tokens with their weights, as many as fit. */
function weighted(
  tokens: readonly WeightedToken[],
  columns: number,
  show: (weight: number) => string,
): string {
  let line = '';
  for (const { text, weight } of tokens) {
    const next = `${line === '' ? '' : `${line}  `}${tokenAlone(text)} ${show(weight)}`;
    if (columnsOf(next) > columns) break;
    line = next;
  }
  return line === '' ? '-' : line;
}

const bare = (tokens: readonly WeightedToken[], columns: number): string =>
  cutTo(tokens.map(({ text }) => tokenAlone(text)).join(' '), columns);

/** Tokens in one cell of the table of heads. */
const CELL_TOKENS = 3;
const CELL_COLUMNS = 22;

/** Heads, one a line. With heads of several checkpoints, each says whose it is. */
export function headsTable(heads: readonly HeadSummary[], detector: string): string {
  const isMixed = new Set(heads.map(({ checkpoint }) => checkpoint)).size > 1;
  const rows = heads.map((head) => {
    const asked = head.scores.find((score) => score.detector === detector);
    const score = detector === '' ? worthNaming(bestDetector(head)) : asked;
    const found = score
      ? `${isCalled(score) ? '●' : '○'} ${named(score.detector)} ${score.score.toFixed(2)}`
      : '-';
    const few = (tokens: readonly WeightedToken[]) =>
      bare(tokens.slice(0, CELL_TOKENS), CELL_COLUMNS);
    return [
      ...(isMixed ? [head.checkpoint, head.layer] : []),
      head.head,
      head.qk_head,
      percent(head.frequency),
      showNumber(head.activation_max),
      found,
      few(head.fires_on),
      few(head.reads_from),
      few(head.raises),
      area(head.rule_auroc),
    ];
  });
  const columns = ['head', 'qk', 'active', 'max', 'detector', 'fires on', 'reads from', 'raises'];
  return table([...(isMixed ? ['checkpoint', 'layer'] : []), ...columns, 'AUROC'], rows);
}

/** A head's card, for a person. */
export function headCard(card: DescribeHeadResponse, paper: Paper): string {
  const { summary, rule, samples } = card;
  if (!summary) return 'the server sent an empty card';
  const { columns, painter } = paper;
  const { activation_max: strongest } = summary;
  const parts = [
    titleLines(summary, paper),
    detectorLines(summary, paper),
    tokenLines(summary, paper),
    hostLine(summary).map((line) => cutTo(line, columns)),
    ruleLines(card, rule, columns),
  ];
  if (samples.length > 0) {
    const legend =
      painter === MARKS
        ? '[token|share of the activation] «query»'
        : 'shaded by share of the activation, query underlined';
    parts.push([
      `${painter.strong('samples')}  ${painter.faint(legend)}`,
      ...samples.flatMap((sample) => ['', ...sampleLines(sample, strongest, paper)]),
    ]);
  }
  return parts.map((lines) => lines.join('\n')).join('\n\n');
}

function titleLines(summary: HeadSummary, { painter, columns }: Paper): string[] {
  const best = bestDetector(summary);
  const kind = best && isCalled(best) ? `: ${named(best.detector)}` : '';
  const { layer, qk_head, checkpoint, frequency, activation_max: strongest } = summary;
  return [
    painter.strong(`Lorsa head ${summary.head}${kind}`),
    painter.faint(cutTo(`layer ${layer} · QK head ${qk_head} · checkpoint ${checkpoint}`, columns)),
    `active on ${percent(frequency)} of tokens · strongest ${showNumber(strongest)}`,
  ];
}

/** ● above the threshold with all of its evidence, ○ below with what fits. */
function detectorLines({ scores }: HeadSummary, { columns, painter }: Paper): string[] {
  if (scores.length === 0) return ['no detector ran'];
  const width = Math.max(...scores.map(({ detector }) => detector.length));
  const ordered = [...scores].sort(
    (a, b) => Number(isCalled(b)) - Number(isCalled(a)) || b.score - a.score,
  );
  const lines = ordered.flatMap((score) => {
    const { detector, evidence, threshold } = score;
    const figures = `${score.score.toFixed(2).padStart(5)} of ${threshold.toFixed(2)}`;
    const start = `  ${isCalled(score) ? '●' : '○'} ${named(detector).padEnd(width)}  ${figures}  `;
    const room = Math.max(20, columns - start.length);
    if (!isCalled(score)) return [painter.faint(`${start}${cutTo(evidence, room)}`.trimEnd())];
    const [first = '', ...rest] = wrapWords(evidence, room);
    return [`${start}${first}`, ...rest.map((line) => `${' '.repeat(start.length)}${line}`)];
  });
  return [painter.strong('detectors'), ...lines];
}

function wrapWords(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && columnsOf(`${last} ${word}`) <= columns) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

function tokenLines(summary: HeadSummary, { columns }: Paper): string[] {
  const room = columns - 14;
  const signed = (weight: number) => (weight > 0 ? `+${weight.toFixed(2)}` : weight.toFixed(2));
  return [
    `  fires on    ${weighted(summary.fires_on, room, percent)}`,
    `  reads from  ${weighted(summary.reads_from, room, percent)}`,
    `  raises      ${weighted(summary.raises, room, signed)}`,
    `  lowers      ${weighted(summary.lowers, room, signed)}`,
  ];
}

/** Heads of the host named in the card: of more, the rest is small. */
const HOST_HEADS = 6;

function hostLine({ original_heads, participation_ratio, layer }: HeadSummary): string[] {
  if (original_heads.length === 0) return ['  host heads  -'];
  const named = original_heads
    .slice(0, HOST_HEADS)
    .map(({ head, share }) => `${layer}.${head} ${percent(share)}`)
    .join(' · ');
  return [
    `  host heads  ${named}`,
    `              participation ratio ${participation_ratio.toFixed(2)}`,
  ];
}

function ruleLines(card: DescribeHeadResponse, rule: HeadRule | null, columns: number): string[] {
  if (!rule) return ['  rule        -'];
  const others = [
    ...(rule.auroc_baseline === undefined
      ? []
      : [`nearest SAE feature ${area(rule.auroc_baseline)}`]),
    ...(rule.auroc_shuffled === undefined ? [] : [`another head's ${area(rule.auroc_shuffled)}`]),
  ];
  const against = others.length === 0 ? '' : ` (${others.join(', ')})`;
  const sae = card.auroc_baseline === undefined ? '' : `, TopK SAE ${area(card.auroc_baseline)}`;
  const score =
    rule.auroc === undefined
      ? 'not scored: the head is silent on the half of the text that scores'
      : `AUROC ${area(rule.auroc)} on other text${against}`;
  const all = `Lorsa ${area(card.auroc_lorsa)}${sae}, shuffled ${area(card.auroc_shuffled)}`;
  const under = ' '.repeat(14);
  const lines = [rule.text, score, `mean of all heads: ${all}`].flatMap((line) =>
    wrapWords(line, columns - under.length),
  );
  return lines.map((line, at) => `${at === 0 ? '  rule        ' : under}${line}`);
}
