import { follow, type Guide } from './guide.ts';
import { figure, sumLine, visible } from './tour-output.ts';
import { FAMILIAR } from './tour-texts.ts';

const SOURCES_SHOWN = 10;

interface Source {
  readonly source: string;
  readonly side?: string;
  readonly position: number;
  readonly contribution: number;
}

export interface WhyChapter {
  readonly job: string;
  readonly head: string;
  readonly value: number;
  readonly sum: number;
  readonly residual: number;
  readonly terms_abs_sum: number;
  readonly sources: readonly Source[];
}

/** (f) The highest score of the name reader at the end of the sentence, as a sum over everything that made it. */
export async function explainScore(
  guide: Guide,
  { layer, head }: { readonly layer: number; readonly head: number },
  tokens: readonly string[],
): Promise<WhyChapter> {
  const { heddle, out, signal, model } = guide;
  const query = tokens.length - 1;
  out.chapter('f', `Why head ${layer}.${head} looks where it looks at the end`);
  const response = await heddle.attribution.StartWhy(
    { model, prompt: { text: FAMILIAR.prompt }, score: { head: { layer, head }, query } },
    { signal },
  );
  const { id, summary } = await follow(guide, response);
  const found = summary as unknown as Omit<WhyChapter, 'job' | 'head'>;
  out.table(
    ['source', 'side', 'position', 'contribution'],
    found.sources
      .slice(0, SOURCES_SHOWN)
      .map(({ source, side, position, contribution }) => [
        source,
        side ?? '',
        `${position} ${visible(tokens[position] ?? '')}`,
        figure(contribution),
      ]),
  );
  const rest = found.sources.slice(SOURCES_SHOWN);
  out.line(
    `and ${rest.length} smaller ones, together ${figure(rest.reduce((sum, s) => sum + s.contribution, 0))}`,
  );
  out.line(sumLine('score', found));
  return { job: id, head: `${layer}.${head}`, ...found };
}
