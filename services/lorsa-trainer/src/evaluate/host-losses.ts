import { dataLoss } from '@heddle/core';
import { type Clients, type Init, TensorCollector, toInline } from '@heddle/ports';
import type { Intervention } from '@heddle/ports/proto/activation';
import { tensor } from '@heddle/tensor';
import { LOSSES_BYTES_MAX } from './limits.ts';

/** One sequence in the host: its ids, and where its layer's output may be replaced. */
export interface HostSequence {
  readonly ids: readonly number[];
  /** Ascending; at least one. */
  readonly positions: readonly number[];
}

/** What stands in the layer's place: nothing, or rows `[positions, d_model]` per sequence. */
export type Replacement = 'none' | 'zero' | readonly Float32Array[];

export interface HostQuestion {
  readonly model: string;
  readonly hook: string;
  readonly d_model: number;
  readonly sequences: readonly HostSequence[];
}

/**
 * −log p of each token after the first, per sequence, with the layer's output replaced at the given positions. One batch
 * that nobody else joins: the same sequences with another replacement differ in that alone. Errors: the server's.
 */
export async function hostLosses(
  { activation }: Pick<Clients, 'activation'>,
  question: HostQuestion,
  replacement: Replacement,
  signal: AbortSignal,
): Promise<readonly Float32Array[]> {
  const { model, sequences } = question;
  const replies = activation.Run(
    {
      model,
      prompts: sequences.map(({ ids }) => ({ tokens: { ids } })),
      loss_per_token: true,
      alone: true,
      interventions: interventions(question, replacement),
    },
    { signal },
  );
  const collector = new TensorCollector(LOSSES_BYTES_MAX);
  const found = new Map<number, Float32Array>();
  for await (const part of replies) {
    if (!part.header && !part.chunk) continue;
    const done = collector.add(part);
    if (done && done.tensor.data instanceof Float32Array) {
      found.set(done.label.prompt, done.tensor.data);
    }
  }
  collector.end();
  return sequences.map(({ ids }, index) => {
    const losses = found.get(index);
    if (losses?.length === ids.length - 1) return losses;
    throw dataLoss(`the activation server gave no losses of sequence ${index}`);
  });
}

function interventions(
  { hook, d_model, sequences }: HostQuestion,
  replacement: Replacement,
): Init<Intervention>[] {
  if (replacement === 'none') return [];
  return sequences.map(({ positions }, index) => {
    const where = { hook, positions, prompts: [index] };
    if (replacement === 'zero') return { ...where, kind: 'INTERVENTION_KIND_ZERO' };
    const rows = replacement[index] ?? new Float32Array(0);
    const value = toInline(tensor('f32', [positions.length, d_model], rows));
    return { ...where, kind: 'INTERVENTION_KIND_REPLACE', value };
  });
}
