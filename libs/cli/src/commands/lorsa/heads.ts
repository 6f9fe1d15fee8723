import type { Heddle } from '@heddle/client';
import type { DetectorScore, HeadSummary } from '@heddle/ports/proto/lorsa';
import { type Command, Option } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { parseCount, parseNumber, parseSize, parseToken } from '../../arguments/lists.ts';
import { UsageError } from '../../exit-status.ts';
import type { Invocation } from '../../invocation.ts';
import { headsTable } from '../../show-head.ts';
import { lookedAt } from './analyse.ts';

/** As the contract names them. */
const DETECTORS = [
  'previous_token',
  'induction',
  'subtoken_induction',
  'successor',
  'name_mover',
  'copy_suppression',
  'sink',
  'arithmetic',
  'thematic_anchor',
];
const ROLES = ['fires_on', 'reads_from', 'raises', 'lowers'];

const TOP = 20;
/** Heads that an overview names of each detector. */
const NAMED = 2;
/** The contract's largest page. */
const PAGE_MAX = 1000;

interface HeadsOptions {
  readonly by?: string;
  readonly min?: number;
  readonly token?: ReturnType<typeof parseToken>;
  readonly role?: string;
  readonly layer?: number;
  readonly top: number;
}

export function addHeads(lorsa: Command, invocation: Invocation): void {
  const words = (text: string) => text.replaceAll('-', '_');
  const byOption = new Option(
    '--by <detector>',
    `order by: ${DETECTORS.join(', ')} (default: some of each, then by frequency)`,
  );
  const roleOption = new Option('--role <role>', `how the token matters: ${ROLES.join(', ')}`);
  lorsa
    .command('heads [run]')
    .description('the heads of a checkpoint (looks at it first where nobody has), or of all')
    .addOption(byOption.argParser((text) => oneOf(words(text), DETECTORS, '--by')))
    .option('--min <x>', 'only heads that the detector scores at least so', parseNumber)
    .option('--token <t>', 'only heads to which this token matters: text, or id:N', parseToken)
    .addOption(roleOption.argParser((text) => oneOf(words(text), ROLES, '--role')))
    .option('--layer <l>', 'only heads of this layer', parseCount)
    .option('--top <n>', 'how many', parseSize, TOP)
    .action((run: string | undefined, options: HeadsOptions) => heads(invocation, run, options));
}

function oneOf(word: string, words: readonly string[], option: string): string {
  if (words.includes(word)) return word;
  throw new UsageError(`${option} ${word}: say one of ${words.join(', ')}`);
}

async function heads(invocation: Invocation, run: string | undefined, options: HeadsOptions) {
  if (options.role !== undefined && options.token === undefined) {
    throw new UsageError('--role says how a token matters: name one with --token');
  }
  if (options.min !== undefined && options.by === undefined) {
    throw new UsageError('--min is the score of a detector: name one with --by');
  }
  const checkpoint = run === undefined ? undefined : checkpointReference(invocation, run);
  const { found, more } = await invocation.withHeddle(
    { contracts: ['activation', 'lorsa'] },
    async (heddle) => {
      const ask = () => listed(heddle, checkpoint, options);
      return checkpoint === undefined
        ? await ask()
        : await lookedAt(invocation, heddle, checkpoint, ask);
    },
  );
  if (found.length === 0) {
    return invocation.print({ heads: [], more }, nothing(invocation, run, options));
  }
  const rest = more ? `\n… more: --top ${2 * options.top}` : '';
  const card = `\na card: ${invocation.heddle} lorsa show ${run ?? found[0]?.checkpoint} ${found[0]?.head}`;
  invocation.print({ heads: found, more }, `${headsTable(found, options.by ?? '')}${rest}${card}`);
}

function nothing(
  { heddle }: Invocation,
  run: string | undefined,
  { by, token, layer }: HeadsOptions,
): string {
  const asked = by !== undefined || token !== undefined || layer !== undefined;
  if (asked) return 'no head is like that';
  return run === undefined
    ? `no checkpoint was looked at yet: ${heddle} lorsa heads RUN`
    : 'no head fired';
}

/** What one answer of `heads` is made of. */
interface Listed {
  readonly found: readonly HeadSummary[];
  readonly more: boolean;
}

/** With a question, its first heads; without one, what each detector found, and then the busiest heads. */
async function listed(
  heddle: Heddle,
  checkpoint: string | undefined,
  options: HeadsOptions,
): Promise<Listed> {
  const { by, token, top } = options;
  if (by !== undefined || token !== undefined) return pages(heddle, checkpoint, options);
  const found = new Map<string, HeadSummary>();
  const add = (heads: readonly HeadSummary[]) => {
    for (const head of heads) found.set(`${head.analysis} ${head.head}`, head);
  };
  for (const detector of DETECTORS) {
    const best = await pages(heddle, checkpoint, { ...options, by: detector, top: NAMED });
    add(best.found.filter(({ scores }) => scores.some((s) => isCalled(s, detector))));
  }
  const busiest = await pages(heddle, checkpoint, options);
  add(busiest.found);
  return { found: [...found.values()].slice(0, top), more: busiest.more };
}

const isCalled = ({ detector, score, threshold }: DetectorScore, name: string): boolean =>
  detector === name && score > threshold;

/** The first heads of one question, page by page. */
async function pages(
  heddle: Heddle,
  checkpoint: string | undefined,
  { by, min, token, role, layer, top }: HeadsOptions,
): Promise<Listed> {
  const found: HeadSummary[] = [];
  let page_token = '';
  do {
    const page = await heddle.lorsa.ListHeads({
      checkpoints: checkpoint === undefined ? [] : [checkpoint],
      detector: by,
      score_min: min,
      token: token ?? null,
      role,
      page_size: Math.min(PAGE_MAX, top - found.length),
      page_token,
      ...(layer === undefined ? {} : { layer }),
    });
    found.push(...page.heads);
    page_token = page.next_page_token;
  } while (page_token !== '' && found.length < top);
  return { found, more: page_token !== '' };
}
