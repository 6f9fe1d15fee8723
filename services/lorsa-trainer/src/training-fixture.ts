import { assert } from '@heddle/core';
import type { Kernels } from '@heddle/ports';
import type { StartTrainRequest } from '@heddle/ports/proto/lorsa';
import { checkedTrain, type TextOrTokens, type TrainRequest } from './train-request.ts';

/** Changes to a request in which everything is a default. */
export interface RequestChanges {
  readonly model?: string;
  readonly layer?: number;
  readonly preset?: string;
  readonly architecture?: Partial<NonNullable<StartTrainRequest['architecture']>>;
  readonly optimiser?: Partial<NonNullable<StartTrainRequest['optimiser']>>;
  readonly auxiliary?: Partial<NonNullable<StartTrainRequest['auxiliary']>>;
  readonly data?: {
    readonly prompts?: readonly TextOrTokens[];
    readonly corpus?: string;
    readonly tokens_max?: number;
    readonly activations?: string;
  };
  readonly seed?: number;
  readonly backend?: string;
  readonly checkpoint_steps?: number;
  readonly client_key?: string;
}

/** A request as the contract has it, defaults where nothing is said: for tests. */
export function startTrain(changes: RequestChanges = {}): StartTrainRequest {
  const { architecture, optimiser, auxiliary, data, ...rest } = changes;
  const prompts = (data?.prompts ?? []).map((one) =>
    'text' in one ? { id: '', text: one.text } : { id: '', tokens: { ids: one.tokens } },
  );
  return {
    model: '',
    layer: 0,
    preset: '',
    seed: 0,
    backend: '',
    checkpoint_steps: 0,
    client_key: '',
    ...rest,
    architecture: {
      ...{ n_ov_heads: 0, n_qk_heads: 0, d_qk_head: 0, top_k: 0, init: '' },
      ...{ signed: false, centre_pre_activations: false },
      ...architecture,
    },
    optimiser: {
      ...{ steps: 0, batch: 0, context: 0, learning_rate: 0, warmup_steps: 0, clip_norm: 0 },
      ...{ top_k_schedule: null, decay_share: 0, end_share: 0 },
      ...optimiser,
    },
    auxiliary: { coefficient: 0, top_k: 0, dead_tokens: 0, ...auxiliary },
    data: { corpus: '', tokens_max: 0, activations: '', ...data, prompts },
  };
}

/** The same, checked: what the job is given. */
export const trainRequest = (changes?: RequestChanges): TrainRequest =>
  checkedTrain(startTrain(changes));

/** For tests of the graph backend: nothing fits. */
export const noKernels = async (): Promise<Kernels> => ({
  estimate: () => ({ bytes: 5e9, limitBytes: 2 ** 32, fits: false }),
  open: () => {
    assert(false, 'these kernels are not opened');
  },
});
