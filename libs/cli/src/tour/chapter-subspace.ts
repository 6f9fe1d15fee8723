import { present } from '@heddle/core';
import { follow, type Guide, tokenTexts } from './guide.ts';
import { figure } from './tour-output.ts';
import { ioiSentences } from './tour-texts.ts';
import { wordPositions } from './word-positions.ts';

/** Sentences that a covariance is estimated from: a d_head of 48–64 needs some dozens of pairs. */
const SENTENCES = 64;
const FEATURE = 'answer';

export interface SubspaceChapter {
  readonly job: string;
  readonly head: string;
  readonly feature: string;
  readonly rank: number;
  readonly singular_values: readonly number[];
}

/**
 * (d) Which part of a head's query-key space tells the name that is the answer from the name that is not: the
 * contrastive covariance of (end, indirect object) against (end, either place of the subject).
 */
export async function findSubspace(
  guide: Guide,
  { layer, head }: { readonly layer: number; readonly head: number },
): Promise<SubspaceChapter> {
  const { heddle, out, signal, model } = guide;
  out.chapter('d', `What head ${layer}.${head} reads: the answer against the other name`);
  const contrasts = [];
  for (const sentence of ioiSentences(SENTENCES, 11)) {
    const tokens = await tokenTexts(guide, sentence.prompt);
    contrasts.push({
      feature: FEATURE,
      prompt: { text: sentence.prompt },
      query: tokens.length - 1,
      positive: [present(wordPositions(tokens, sentence.io)[0], sentence.io)],
      negative: wordPositions(tokens, sentence.s),
    });
  }
  const response = await heddle.qk.StartFit(
    { model, contrasts, heads: [{ layer, head }] },
    { signal },
  );
  const { id, summary } = await follow(guide, response);
  const [fit] = summary['features'] as readonly {
    readonly head: string;
    readonly rank: number;
    readonly singular_values: readonly number[];
  }[];
  const { rank, singular_values } = present(fit, 'the fit of the one feature');
  out.line(`from ${SENTENCES} sentences: rank ${rank} holds 99 % of the energy of C⁺ − C⁻`);
  out.line(`singular values ${singular_values.slice(0, 6).map(figure).join('  ')}`);
  return { job: id, head: `${layer}.${head}`, feature: FEATURE, rank, singular_values };
}
