import { assert, present } from '@heddle/core';
import type { IoiSentence } from '@heddle/interp/tasks';
import type { Tensor } from '@heddle/tensor';
import { bindAxes } from '@heddle/tensor';
import { type Guide, tokenTexts } from './guide.ts';
import { figure, visible } from './tour-output.ts';
import { FAMILIAR, ioiSentences } from './tour-texts.ts';
import { wordPositions } from './word-positions.ts';

/** How many heads the table shows. */
const STRONGEST = 8;
/** Sentences over which a name reader is looked for; both orders, so that a fixed offset cannot pass for a name. */
const SENTENCES = 16;
/** Heads that look at the answer at least half as much as the first of them; taking each away shows which moves it. */
const CANDIDATES = 4;

export interface StrongHead {
  readonly head: string;
  readonly query: number;
  readonly key: number;
  readonly weight: number;
}

export interface AttentionChapter {
  readonly prompt: string;
  readonly tokens: readonly string[];
  readonly strongest: readonly StrongHead[];
  readonly nameReader: NameReader;
}

/**
 * Of the heads that look most from the end to the indirect object, the one without which logit(answer) − logit(other
 * name) falls furthest: a head may look at a name and do something else with it. From layer 1 on, because a head of
 * layer 0 has nothing but the embedding to read and its score no sources worth a chapter.
 */
export interface NameReader {
  readonly layer: number;
  readonly head: number;
  /** Mean attention from the last position to the answer. */
  readonly weight: number;
  readonly difference: number;
  readonly difference_without: number;
}

/** (b) Captures every attention pattern on one prompt, then looks for the head that moves names. */
export async function showAttention(guide: Guide): Promise<AttentionChapter> {
  const { out } = guide;
  out.chapter('b', 'Where the heads look');
  const { prompt } = FAMILIAR;
  const [patterns = []] = await capturePatterns(guide, [prompt]);
  const tokens = await tokenTexts(guide, prompt);
  const strongest = patterns
    .flatMap((pattern, layer) => strongestPairs(pattern, layer))
    .sort((a, b) => b.weight - a.weight)
    .slice(0, STRONGEST);
  out.line(`“${prompt}”, each head's strongest look at another token than the first and itself:`);
  out.table(
    ['head', 'at', 'looks at', 'pattern'],
    strongest.map(({ head, query, key, weight }) => [
      head,
      `${query} ${visible(tokens[query] ?? '')}`,
      `${key} ${visible(tokens[key] ?? '')}`,
      figure(weight),
    ]),
  );
  const nameReader = await findNameReader(guide);
  const { layer, head, weight, difference, difference_without } = nameReader;
  out.line(
    `Over ${SENTENCES} sentences of this kind head ${layer}.${head} (from layer 1 on) gives ${figure(weight)} of the last token's attention to ` +
      `the name that is the answer; without it logit(answer) − logit(other name) goes from ${figure(difference)} to ${figure(difference_without)}.`,
  );
  return { prompt, tokens, strongest, nameReader };
}

/** Patterns [head, query_pos, key_pos] of every layer, for each prompt. */
async function capturePatterns(guide: Guide, prompts: readonly string[]): Promise<Tensor[][]> {
  const { heddle, model, signal } = guide;
  const run = await heddle.collectRun(
    { model, prompts: prompts.map((text) => ({ text })), hooks: ['blocks.*.attn.hook_pattern'] },
    { signal },
  );
  const byPrompt: Tensor[][] = prompts.map(() => []);
  for (const { label, tensor } of run.tensors) {
    const layer = Number(/^blocks\.(\d+)\./.exec(label.name)?.[1]);
    const patterns = present(byPrompt[label.prompt], `prompt ${label.prompt}`);
    patterns[layer] = tensor;
  }
  return byPrompt;
}

function strongestPairs(pattern: Tensor, layer: number): StrongHead[] {
  const {
    head: heads,
    query_pos,
    key_pos,
  } = bindAxes({ pattern: [pattern, 'head query_pos key_pos'] });
  const values = pattern.data;
  assert(values instanceof Float32Array);
  return Array.from({ length: heads }, (_, head) => {
    let best: StrongHead = { head: `${layer}.${head}`, query: 0, key: 0, weight: -1 };
    for (let query = 2; query < query_pos; query++) {
      for (let key = 1; key < query; key++) {
        const weight = values[(head * query_pos + query) * key_pos + key] ?? 0;
        if (weight > best.weight) best = { ...best, query, key, weight };
      }
    }
    return best;
  });
}

async function findNameReader(guide: Guide): Promise<NameReader> {
  const sentences = ioiSentences(SENTENCES, 1);
  const looks = await looksAtAnswer(guide, sentences);
  const asked = await Promise.all(sentences.map((sentence) => askedSentence(guide, sentence)));
  const difference = await logitDifference(guide, asked);
  let best: NameReader | undefined;
  const later = looks.filter((look) => look.layer > 0);
  const enough = (later[0]?.weight ?? 0) / 2;
  const candidates = later.filter((look) => look.weight >= enough).slice(0, CANDIDATES);
  for (const { layer, head, weight } of candidates) {
    const without = await logitDifference(guide, asked, { layer, head });
    if (best === undefined || without < best.difference_without) {
      best = { layer, head, weight, difference, difference_without: without };
    }
  }
  return present(best, 'a head');
}

interface Look {
  readonly layer: number;
  readonly head: number;
  readonly weight: number;
}

/** Mean attention of every head from the last position to the answer, most first. */
async function looksAtAnswer(guide: Guide, sentences: readonly IoiSentence[]): Promise<Look[]> {
  const patterns = await capturePatterns(
    guide,
    sentences.map((s) => s.prompt),
  );
  const looks = new Map<string, Look>();
  for (const [i, sentence] of sentences.entries()) {
    const key = await answerPosition(guide, sentence);
    for (const [layer, pattern] of (patterns[i] ?? []).entries()) {
      const [heads = 0, query_pos = 0, key_pos = 0] = pattern.shape;
      for (let head = 0; head < heads; head++) {
        const seen = Number(pattern.data[(head * query_pos + query_pos - 1) * key_pos + key]);
        const before = looks.get(`${layer}.${head}`)?.weight ?? 0;
        looks.set(`${layer}.${head}`, { layer, head, weight: before + seen / sentences.length });
      }
    }
  }
  return [...looks.values()].sort((a, b) => b.weight - a.weight);
}

/** A sentence with the tokens that its two names begin with. */
interface AskedSentence {
  readonly prompt: string;
  readonly ioToken: number;
  readonly sToken: number;
}

async function askedSentence(guide: Guide, { prompt, io, s }: IoiSentence): Promise<AskedSentence> {
  return {
    prompt,
    ioToken: await firstToken(guide, ` ${io}`),
    sToken: await firstToken(guide, ` ${s}`),
  };
}

/** Mean of logit(answer) − logit(other name) after the last token, with one head's z set to zero if one is named. */
async function logitDifference(
  { heddle, model, signal }: Guide,
  sentences: readonly AskedSentence[],
  without?: { readonly layer: number; readonly head: number },
): Promise<number> {
  const ablation = without && {
    hook: `blocks.${without.layer}.attn.hook_z`,
    kind: 'INTERVENTION_KIND_ZERO' as const,
    heads: [without.head],
  };
  let total = 0;
  const prompts = sentences.map(({ prompt }) => ({ text: prompt }));
  const interventions = ablation ? [ablation] : [];
  const run = heddle.runItems({ model, prompts, hooks: ['logits'], interventions }, { signal });
  for await (const item of run) {
    if (item.type !== 'tensor') continue;
    const { label, tensor } = item.tensor;
    const [pos = 0, d_vocab = 0] = tensor.shape;
    const { ioToken, sToken } = present(sentences[label.prompt], `prompt ${label.prompt}`);
    const last = (pos - 1) * d_vocab;
    total += Number(tensor.data[last + ioToken]) - Number(tensor.data[last + sToken]);
  }
  return total / sentences.length;
}

async function firstToken({ heddle, model, signal }: Guide, text: string): Promise<number> {
  const options = { no_special: true };
  const { tokens } = await heddle.activation.Tokenize(
    { model, prompt: { text }, options },
    { signal },
  );
  return present(tokens[0], `a token of “${text}”`).id;
}

async function answerPosition(guide: Guide, { prompt, io }: IoiSentence): Promise<number> {
  return present(wordPositions(await tokenTexts(guide, prompt), io)[0], `${io} in “${prompt}”`);
}
