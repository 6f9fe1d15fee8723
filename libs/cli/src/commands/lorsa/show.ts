import type { Command } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { parseCount } from '../../arguments/lists.ts';
import type { Invocation } from '../../invocation.ts';
import { headCard, paperOf } from '../../show-head.ts';
import { lookedAt } from './analyse.ts';

/** Samples on a card that a screen holds; the strongest, then some of the lower quantiles. */
const SAMPLES = 6;

interface ShowOptions {
  readonly samples: number;
  readonly analysis?: string;
}

export function addShow(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('show')
    .description("a head's card: what it fires on, reads and writes, with samples")
    .argument('<run>', "a training's or an import's job, or a checkpoint's path")
    .argument('<head>', 'which head, from 0', parseCount)
    .option('--samples <n>', 'how many samples', parseCount, SAMPLES)
    .option('--analysis <job>', 'of a certain analysis (default: the last)')
    .action((run: string, head: number, options: ShowOptions) =>
      show(invocation, run, head, options),
    );
}

async function show(invocation: Invocation, run: string, head: number, options: ShowOptions) {
  const checkpoint = checkpointReference(invocation, run);
  const request = { checkpoint, head, analysis: options.analysis };
  const card = await invocation.withHeddle({ contracts: ['activation', 'lorsa'] }, (heddle) =>
    lookedAt(invocation, heddle, checkpoint, () =>
      heddle.lorsa.DescribeHead(request, { signal: invocation.signal }),
    ),
  );
  const { samples } = card;
  const shown = { ...card, samples: chosen(samples, options.samples) };
  const { io } = invocation;
  invocation.print(card, headCard(shown, paperOf(io.stdoutColumns, io.environment)));
}

/** Mostly the strongest, and of the rest some from top to bottom: what a head does seldom is seen there. */
function chosen<T>(samples: readonly T[], count: number): readonly T[] {
  if (samples.length <= count) return samples;
  const strongest = Math.ceil((2 * count) / 3);
  const rest = samples.slice(strongest);
  const others = Array.from(
    { length: count - strongest },
    (_, i) => rest[Math.floor(((i + 1) * rest.length) / (count - strongest)) - 1] as T,
  );
  return [...samples.slice(0, strongest), ...others];
}
