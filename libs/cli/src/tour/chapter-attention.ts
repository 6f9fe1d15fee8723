import { assert, present } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import { bindAxes } from '@heddle/tensor';
import { type Guide, tokenTexts } from './guide.ts';
import { figure, visible } from './tour-output.ts';
import { FAMILIAR, type IoiSentence, ioiSentences } from './tour-texts.ts';
import { wordPositions } from './word-positions.ts';

/** How many heads the table shows. */
const STRONGEST = 8;
/** Prompts over which a name mover is looked for; both orders, so that a fixed offset cannot pass for a name. */
const NAME_MOVER_PROMPTS = 16;

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
  /** The head whose last position attends most to the indirect object, over many sentences. */
  readonly nameMover: { readonly layer: number; readonly head: number; readonly weight: number };
}

/** (b) Captures every attention pattern on one prompt, then looks for the head that moves names. */
export async function showAttention(guide: Guide): Promise<AttentionChapter> {
  const { out } = guide;
  out.chapter('b', 'Where the heads look');
  const prompt = FAMILIAR.text;
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
  const nameMover = await findNameMover(guide);
  out.line(
    `Over ${NAME_MOVER_PROMPTS} sentences of this kind head ${nameMover.layer}.${nameMover.head} looks most ` +
      `from the end to the name that is the answer: ${figure(nameMover.weight)} of its attention.`,
  );
  return { prompt, tokens, strongest, nameMover };
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

async function findNameMover(guide: Guide): Promise<AttentionChapter['nameMover']> {
  const sentences = ioiSentences(NAME_MOVER_PROMPTS, 1);
  const patterns = await capturePatterns(
    guide,
    sentences.map((s) => s.text),
  );
  const total = new Map<string, number>();
  for (const [i, sentence] of sentences.entries()) {
    const key = await answerPosition(guide, sentence);
    for (const [layer, pattern] of (patterns[i] ?? []).entries()) {
      const [heads = 0, query_pos = 0, key_pos = 0] = pattern.shape;
      for (let head = 0; head < heads; head++) {
        const weight = Number(pattern.data[(head * query_pos + query_pos - 1) * key_pos + key]);
        const name = `${layer}.${head}`;
        total.set(name, (total.get(name) ?? 0) + weight / sentences.length);
      }
    }
  }
  const [best] = [...total].sort((a, b) => b[1] - a[1]);
  const [name, weight] = present(best, 'a head');
  const [layer = 0, head = 0] = name.split('.').map(Number);
  return { layer, head, weight };
}

async function answerPosition(guide: Guide, { text, io }: IoiSentence): Promise<number> {
  return present(wordPositions(await tokenTexts(guide, text), io)[0], `${io} in “${text}”`);
}
