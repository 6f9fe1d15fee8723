import { type WeightStore, withHostModel } from '@heddle/client';
import { notFound, resourceExhausted } from '@heddle/core';
import { hostFromModel, hostUnembeddingRoles } from '@heddle/interp/host';
import { encodedTokenTops, TokenTops, tokenTopsFeeds } from '@heddle/interp/lorsa/heads';
import { weightOf } from '@heddle/models';
import type { Clients, Engine, Hub } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { programOf } from '../programs.ts';
import { TEXTS_PER_CALL, UNEMBEDDING_BYTES_MAX, VOCABULARY_BLOCK } from './limits.ts';

/** The host's vocabulary as the heads write into it. */
export interface Vocabulary {
  /** W_U with a word per row, `[d_vocab, d_model]`. */
  readonly rows: Tensor<'f32'>;
  readonly gain: ArrayLike<number>;
  /** LayerNorm, which takes a vector's mean away first. */
  readonly centre: boolean;
}

/** Errors: `resource_exhausted` with the estimate for an unembedding that is too large to hold; those of the hub. */
export async function readVocabulary(
  deps: {
    readonly hub: Hub;
    readonly store: WeightStore;
    readonly peers: Pick<Clients, 'activation'>;
  },
  model: string,
): Promise<Vocabulary> {
  const { model: info } = await deps.peers.activation.DescribeModel({ model });
  if (!info) throw notFound(`no model ${model}`, { field: 'model' });
  const bytes = info.d_vocab * info.d_model * 4;
  if (bytes > UNEMBEDDING_BYTES_MAX) {
    throw resourceExhausted(
      `the host's unembedding takes ${bytes} bytes; at most ${UNEMBEDDING_BYTES_MAX} are held`,
      { field: 'model', retryable: false, details: { bytes, limit: UNEMBEDDING_BYTES_MAX } },
    );
  }
  return withHostModel(deps, info, async ({ model: loaded, reader }) => {
    const read = new Map<string, Tensor<'f32'>>();
    for (const role of hostUnembeddingRoles(loaded)) {
      read.set(weightOf(loaded, role).name, await reader.read(role));
    }
    const host = hostFromModel(loaded, ({ name }) => read.get(name) as Tensor<'f32'>);
    const { rows, lnFinal } = host.unembedding();
    const shape = [info.d_vocab, info.d_model];
    return {
      rows: tensor('f32', shape, Float32Array.from(rows)),
      gain: lnFinal.gain,
      centre: host.shape.norm === 'layer',
    };
  });
}

/** The rows with the largest and smallest products with every write direction (tokens that it raises and lowers), block by block. */
export async function tokenTops(
  engine: Engine,
  writes: Tensor<'f32'>,
  { rows }: Pick<Vocabulary, 'rows'>,
  count: number,
  options: { readonly signal: AbortSignal; readonly pulse: () => Promise<void> },
): Promise<TokenTops> {
  const [d_vocab = 0, d_model = 0] = rows.shape;
  const program = programOf(encodedTokenTops());
  const tops = new TokenTops(writes.shape[0] ?? 0, count);
  const keep = ['top', 'top_index', 'bottom', 'bottom_index', 'sum'];
  for (let from = 0; from < d_vocab; from += VOCABULARY_BLOCK) {
    const to = Math.min(d_vocab, from + VOCABULARY_BLOCK);
    const data = rows.data.slice(from * d_model, to * d_model);
    const block = tensor('f32', [to - from, d_model], data);
    const feeds = tokenTopsFeeds(writes, block, count);
    const { signal } = options;
    const [outputs = {}] = await engine.run({ steps: [{ program, feeds, keep }] }, { signal });
    tops.addBlock(from, to - from, outputs);
    await options.pulse();
  }
  return tops;
}

/** The text of tokens by id; empty for a model without a tokenizer. `n_ctx`: what the model takes in one prompt. */
export async function textsOf(
  { activation }: Pick<Clients, 'activation'>,
  { model, n_ctx }: { readonly model: string; readonly n_ctx: number },
  tokens: ReadonlySet<number>,
  signal: AbortSignal,
): Promise<ReadonlyMap<number, string>> {
  const ids = [...tokens].sort((a, b) => a - b);
  const texts = new Map<number, string>();
  const size = Math.min(TEXTS_PER_CALL, n_ctx);
  for (let from = 0; from < ids.length; from += size) {
    const prompt = { tokens: { ids: ids.slice(from, from + size) } };
    const reply = await activation.Tokenize({ model, prompt }, { signal });
    for (const { id, text } of reply.tokens) texts.set(id, text);
  }
  return texts;
}
