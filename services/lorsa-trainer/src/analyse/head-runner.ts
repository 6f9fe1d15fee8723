import { OperationError } from '@heddle/core';
import {
  analysisFeeds,
  encodedAnalysis,
  encodedHostHeads,
  type HeadSequence,
  headSequences,
  hostHeadsFeeds,
  type InspectedLayer,
} from '@heddle/interp/lorsa/heads';
import type { Engine, Outputs, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import type { HostLayer } from '../host-layer.ts';
import { programOf } from '../programs.ts';
import { RUN_BYTES_MAX } from './limits.ts';

/** Sequences at the layer's input, in host units, padded on the right. */
export interface ReadText {
  /** `[batch, pos, d_model]`. */
  readonly x: Tensor<'f32'>;
  /** `[batch, pos]`. */
  readonly tokens: ArrayLike<number>;
  readonly valid: ArrayLike<number>;
  /** `[batch]`, without padding. */
  readonly lengths: ArrayLike<number>;
  /** Index of the first sequence in the whole text. */
  readonly firstIndex: number;
}

/** One sequence: what its heads did, and z of the host's own heads, `[pos, head · d_head]`. */
export interface ReadSequence {
  readonly heads: HeadSequence;
  readonly hostZ: Float32Array;
}

/** Runs a layer, and its host's heads beside it, over sequences: in runs of bounded size, which follow from the text alone. */
export class HeadRunner {
  readonly program: Program;
  private readonly engine: Engine;
  private readonly layer: InspectedLayer;
  private readonly host: HostLayer;
  private readonly hostProgram: Program;

  constructor(engine: Engine, layer: InspectedLayer, host: HostLayer) {
    this.engine = engine;
    this.layer = layer;
    this.host = host;
    this.program = programOf(encodedAnalysis(layer.config));
    this.hostProgram = programOf(encodedHostHeads(host));
  }

  /** Sequences that one run takes. */
  private batchOf(pos: number): number {
    const { n_qk_heads, n_ov_heads } = this.layer.config;
    const floats = pos * pos * (n_qk_heads + this.host.n_heads) + 3 * pos * n_ov_heads;
    return Math.max(1, Math.floor(RUN_BYTES_MAX / (4 * floats)));
  }

  /** Every sequence, in order; only one run's patterns are held at a time. `withHost`: also z of the host's heads. */
  async *read(
    text: ReadText,
    options: { readonly signal: AbortSignal; readonly withHost: boolean },
  ): AsyncGenerator<ReadSequence> {
    const [batch = 0, pos = 0] = text.x.shape;
    const size = this.batchOf(pos);
    for (let from = 0; from < batch; from += size) {
      const part = cut(text, from, Math.min(batch, from + size));
      yield* await this.run(part, options);
    }
  }

  private async run(
    part: ReadText,
    { signal, withHost }: { readonly signal: AbortSignal; readonly withHost: boolean },
  ): Promise<ReadSequence[]> {
    const { config, weights } = this.layer;
    const { host } = this;
    const heads = {
      program: this.program,
      feeds: analysisFeeds(config, weights, part.x),
      keep: ['pattern', 'values', 'winners', 'acts'],
    };
    const own = {
      program: this.hostProgram,
      feeds: withHost ? hostHeadsFeeds(host, host.attention, part.x) : {},
      keep: ['z'],
    };
    const plan = { steps: withHost ? [heads, own] : [heads] };
    const [outputs = {}, hostOutputs] = await this.engine.run(plan, { signal });
    requireFinite(outputs);
    const z = (hostOutputs?.['z']?.data ?? new Float32Array()) as Float32Array;
    const row = (part.x.shape[1] ?? 0) * host.n_heads * host.d_head;
    return headSequences(config, outputs, part).map((sequence, b) => {
      return { heads: sequence, hostZ: z.subarray(b * row, (b + 1) * row) };
    });
  }
}

function cut(text: ReadText, from: number, to: number): ReadText {
  const [, pos = 0, d_model = 0] = text.x.shape;
  const slice = <T extends ArrayLike<number>>(values: T, width: number): ArrayLike<number> =>
    Array.prototype.slice.call(values, from * width, to * width) as number[];
  const rows = pos * d_model;
  return {
    x: tensor('f32', [to - from, pos, d_model], text.x.data.slice(from * rows, to * rows)),
    tokens: slice(text.tokens, pos),
    valid: slice(text.valid, pos),
    lengths: slice(text.lengths, 1),
    firstIndex: text.firstIndex + from,
  };
}

function requireFinite(outputs: Outputs): void {
  const acts = outputs['acts']?.data as Float32Array;
  const bad = acts.findIndex((z) => !Number.isFinite(z));
  if (bad < 0) return;
  throw new OperationError({
    code: 'failed_precondition',
    message: `an activation is ${acts[bad]}: the checkpoint's weights, or the host on this text, overflow`,
    field: 'checkpoint',
    retryable: false,
  });
}
