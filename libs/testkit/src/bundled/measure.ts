import type { Tensor } from '@heddle/tensor';
import type { Encoded } from './corpus.ts';
import type { HeldOutSet, IoiPrompt } from './held-out-sets.ts';
import type { MeasuredModel } from './measured-model.ts';

/** Rows of one run: bounds the logits to a few megabytes. */
const ROWS_MAX = 32;

/** Share of answers whose likeliest token, over the whole vocabulary, is the right one. */
export async function accuracy(model: MeasuredModel, set: HeldOutSet): Promise<number> {
  let right = 0;
  let asked = 0;
  for (const texts of sameLength(set.texts, (text) => text.ids.length)) {
    const asks = texts.flatMap(({ ids, answers }, row) =>
      answers.map((place) => ({ row: row * ids.length + place - 1, expected: ids[place] })),
    );
    const outputs = await model.run(
      texts.map((text) => text.ids),
      ['logits'],
      { logitRows: asks.map(({ row }) => row) },
    );
    const best = argMaxRows(outputs.get('logits')!);
    right += asks.filter(({ expected }, i) => best[i] === expected).length;
    asked += asks.length;
  }
  return right / asked;
}

/** Of each row the place of the largest, of equal ones the first. */
function argMaxRows({ data, shape }: Tensor<'f32'>): number[] {
  const width = shape.at(-1)!;
  return Array.from({ length: data.length / width }, (_, row) => {
    let best = row * width;
    for (let i = best; i < (row + 1) * width; i++) if (data[i]! > data[best]!) best = i;
    return best - row * width;
  });
}

/** One number per head, `[layer, head]`. */
export type PerHead = readonly (readonly number[])[];

export interface HeadScores {
  /** Mean attention from each token to the one before it. */
  readonly previousToken: PerHead;
  /** In the second copy of a repeated sequence: mean attention to the token after the first copy of this one. */
  readonly induction: PerHead;
  /** On IOI prompts: mean attention of the last token on the indirect object. */
  readonly toIndirectObject: PerHead;
  /** Mean logit(IO) − logit(S) at the last token, with all heads. */
  readonly logitDifference: number;
  /** The same with the head ablated (its z set to 0). */
  readonly ablatedLogitDifference: PerHead;
}

/** The head measures of the model card: repeats of one period, and IOI prompts. */
export async function headScores(
  model: MeasuredModel,
  from: {
    readonly repeats: readonly Encoded[];
    readonly period: number;
    readonly ioi: readonly IoiPrompt[];
  },
): Promise<HeadScores> {
  const repeats = from.repeats.map((text) => text.ids);
  const previousToken = await meanAttention(model, repeats, (query) => query - 1, 1);
  const induction = await meanAttention(
    model,
    repeats,
    (query) => query - from.period + 1,
    from.period,
  );
  const groups = sameLength(from.ioi, (prompt) => prompt.ids.length);
  return {
    previousToken,
    induction,
    toIndirectObject: await attentionToIo(model, groups),
    logitDifference: await logitDifference(model, groups, []),
    ablatedLogitDifference: await forEachHead(model, (layer, head) =>
      logitDifference(model, groups, [[layer, head]]),
    ),
  };
}

/** Mean of pattern[query, keyOf(query)] over rows and queries from `first` on. */
async function meanAttention(
  model: MeasuredModel,
  rows: readonly (readonly number[])[],
  keyOf: (query: number) => number,
  first: number,
): Promise<PerHead> {
  const sums = zeros(model);
  const pos = rows[0]!.length;
  for (const part of chunks(rows)) {
    const patterns = await patternsOf(model, part);
    part.forEach((_, row) => {
      for (let query = first; query < pos; query++) {
        addPattern(sums, patterns, { row, query, key: keyOf(query) });
      }
    });
  }
  const count = rows.length * (pos - first);
  return sums.map((heads) => heads.map((sum) => sum / count));
}

async function attentionToIo(
  model: MeasuredModel,
  groups: readonly (readonly IoiPrompt[])[],
): Promise<PerHead> {
  const sums = zeros(model);
  let count = 0;
  for (const prompts of groups) {
    const patterns = await patternsOf(
      model,
      prompts.map((prompt) => prompt.ids),
    );
    prompts.forEach(({ ids, ioPos }, row) => {
      addPattern(sums, patterns, { row, query: ids.length - 1, key: ioPos });
    });
    count += prompts.length;
  }
  return sums.map((heads) => heads.map((sum) => sum / count));
}

async function logitDifference(
  model: MeasuredModel,
  groups: readonly (readonly IoiPrompt[])[],
  ablated: readonly (readonly [number, number])[],
): Promise<number> {
  let sum = 0;
  let count = 0;
  for (const prompts of groups) {
    const rows = prompts.map((prompt) => prompt.ids);
    const logitRows = rows.map((ids, row) => (row + 1) * ids.length - 1);
    const outputs = await model.run(rows, ['logits'], { logitRows, ablated });
    const { data, shape } = outputs.get('logits')!;
    prompts.forEach(({ ioToken, sToken }, row) => {
      const from = row * shape.at(-1)!;
      sum += data[from + ioToken]! - data[from + sToken]!;
    });
    count += prompts.length;
  }
  return sum / count;
}

function patternsOf(model: MeasuredModel, rows: readonly (readonly number[])[]) {
  return model.run(rows, perLayer(model, patternName));
}

function patternName(layer: number): string {
  return `blocks.${layer}.attn.hook_pattern`;
}

function addPattern(
  sums: number[][],
  patterns: ReadonlyMap<string, Tensor<'f32'>>,
  at: { readonly row: number; readonly query: number; readonly key: number },
): void {
  sums.forEach((heads, layer) => {
    const { data, shape } = patterns.get(patternName(layer))!;
    const [, n_heads, queries, keys] = shape as [number, number, number, number];
    for (let head = 0; head < heads.length; head++) {
      const place = ((at.row * n_heads + head) * queries + at.query) * keys + at.key;
      heads[head] = heads[head]! + data[place]!;
    }
  });
}

function perLayer<T>(model: MeasuredModel, value: (layer: number) => T): T[] {
  return Array.from({ length: model.model.config.n_layers }, (_, layer) => value(layer));
}

function zeros(model: MeasuredModel): number[][] {
  return perLayer(model, () => Array.from({ length: model.model.config.n_heads }, () => 0));
}

async function forEachHead(
  model: MeasuredModel,
  value: (layer: number, head: number) => Promise<number>,
): Promise<number[][]> {
  const out = zeros(model);
  for (const [layer, heads] of out.entries()) {
    for (const head of heads.keys()) heads[head] = await value(layer, head);
  }
  return out;
}

function chunks<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / ROWS_MAX);
  return Array.from({ length: count }, (_, i) => items.slice(i * ROWS_MAX, (i + 1) * ROWS_MAX));
}

/** Groups of equal length, no padding needed, each of at most ROWS_MAX. */
function sameLength<T>(items: readonly T[], lengthOf: (item: T) => number): T[][] {
  return [...Map.groupBy(items, lengthOf).values()].flatMap(chunks);
}
