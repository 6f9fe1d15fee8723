import type { ModelInfo } from '@heddle/ports/proto/activation';
import { follow, type Guide } from './guide.ts';
import { figure } from './tour-output.ts';
import { trainingTexts } from './tour-texts.ts';

/** Texts of the training; a third of each kind. */
const TEXTS = 240;
/** Adam steps on a d_model of at most 256, and on more: a step costs n_ov · d_model, and the tour has minutes. */
const STEPS_SMALL = 200;
const STEPS_LARGE = 60;
const D_MODEL_SMALL = 256;
/** Enough sequences a step that its gradient is not one text's, few enough that a step takes a fraction of a second. */
const BATCH = 8;
const CONTEXT = 64;
/** Rank-one heads per dimension of the residual stream. */
const EXPANSION = 4;

export interface LorsaChapter {
  readonly job: string;
  readonly layer: number;
  readonly n_ov_heads: number;
  readonly top_k: number;
  readonly fvu: number;
  readonly l0: number;
  readonly dead_heads: number;
}

/** (c) Trains a small Lorsa in place of the attention layer that holds the name reader. */
export async function trainLorsa(
  guide: Guide,
  info: ModelInfo,
  layer: number,
): Promise<LorsaChapter> {
  const { heddle, out, signal, model } = guide;
  const n_ov_heads = EXPANSION * info.n_heads * info.d_head;
  const top_k = Math.max(8, Math.floor((info.n_heads * info.d_head) / 8));
  out.chapter('c', `A Lorsa in place of attention layer ${layer}`);
  out.line(
    `${n_ov_heads} rank-one heads, at most ${top_k} active a token, on ${TEXTS} sentences (names, lists, boxes)`,
  );
  const response = await heddle.lorsa.StartTrain(
    {
      model,
      layer,
      architecture: {
        n_ov_heads,
        n_qk_heads: info.n_heads,
        d_qk_head: info.d_head,
        top_k,
        init: 'active_subspace',
      },
      optimiser: {
        steps: info.d_model <= D_MODEL_SMALL ? STEPS_SMALL : STEPS_LARGE,
        batch: BATCH,
        context: CONTEXT,
        learning_rate: 4e-3,
        warmup_steps: 10,
        clip_norm: 1,
      },
      data: { prompts: trainingTexts(TEXTS, 7).map((text) => ({ text })) },
      seed: 0,
      backend: 'graph',
    },
    { signal },
  );
  const { id, summary } = await follow(guide, response);
  const chapter: LorsaChapter = {
    job: id,
    layer,
    n_ov_heads,
    top_k,
    fvu: Number(summary['fvu']),
    l0: Number(summary['l0']),
    dead_heads: Number(summary['dead_heads']),
  };
  out.line(
    `fraction of variance unexplained (FVU) ${figure(chapter.fvu)}, active heads a token (L0) ${figure(chapter.l0)}, ` +
      `dead heads ${chapter.dead_heads} of ${n_ov_heads}`,
  );
  return chapter;
}
