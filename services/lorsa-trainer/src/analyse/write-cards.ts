import type { TaskContext } from '@heddle/actor';
import { type HeadRule, ruleText } from '@heddle/interp/lorsa/heads';
import type { Analysis } from './analysis.ts';
import {
  type AnalysisFacts,
  type HeadFindings,
  tokensNamed,
  writeAnalysis,
} from './analysis-file.ts';
import { ROLE_TOKENS } from './limits.ts';
import { decodeTexts, type PassState } from './text-pass.ts';

/** The artifact, with every token's text and the rules in words. */
export async function writeCards(
  { deps, context, unseen, host, request }: Analysis,
  state: PassState,
  found: {
    readonly facts: AnalysisFacts;
    readonly heads: readonly HeadFindings[];
    readonly rules: readonly HeadRule[];
  },
): Promise<Uint8Array> {
  const { facts, heads, rules } = found;
  const sequences = await wantedTexts(context, state, heads);
  const named = tokensNamed(heads, sequences);
  const { model } = unseen;
  const tokens = await deps.texts({ model, n_ctx: host.n_ctx }, named, context.signal);
  const say = (id: number) => shown(tokens.get(id) ?? '', id);
  const worded = heads.map((head, at) => {
    const text = ruleText(rules[at] as HeadRule, say);
    return { ...head, rule: { ...head.rule, text } };
  });
  const samples = request.samples + request.quantile_samples;
  return writeAnalysis(facts, { roleTokens: ROLE_TOKENS, samples }, worded, { sequences, tokens });
}

/** A token within a sentence: its spaces can be seen, and it breaks no line. */
function shown(text: string, id: number): string {
  if (text === '') return `id:${id}`;
  return text
    .replaceAll(' ', '␣')
    .replaceAll('\n', '⏎')
    .replace(/\p{Cc}/gu, '␦');
}

/** Tokens of the sequences that samples name, read back shard by shard. */
async function wantedTexts(
  { blobs }: Pick<TaskContext, 'blobs'>,
  state: PassState,
  heads: readonly HeadFindings[],
): Promise<ReadonlyMap<number, ArrayLike<number>>> {
  const wanted = new Set(heads.flatMap(({ samples }) => samples.map((s) => s.sequence)));
  const texts = new Map<number, ArrayLike<number>>();
  let index = 0;
  for (const digest of state.texts) {
    for (const tokens of decodeTexts(await blobs.read(digest))) {
      if (wanted.has(index)) texts.set(index, tokens);
      index++;
    }
  }
  return texts;
}
