import type { HeadSequence } from '@heddle/interp/lorsa/heads';
import { encodedSaeActivations, type SaeLayer } from '@heddle/interp/sae';
import type { Engine, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { programOf } from '../programs.ts';
import type { ReadText } from './head-runner.ts';
import { RUN_BYTES_MAX } from './limits.ts';

/** Features of a TopK SAE over sequences, in the form in which heads are looked at: without attention. */
export class BaselineReader {
  readonly features: number;
  /** What each feature writes, `[feature, d_model]`. */
  readonly writes: Tensor<'f32'>;
  private readonly engine: Engine;
  private readonly layer: SaeLayer;
  private readonly program: Program;

  constructor(engine: Engine, layer: SaeLayer) {
    this.engine = engine;
    this.layer = layer;
    this.features = layer.config.d_sae;
    this.writes = layer.weights.W_dec;
    this.program = programOf(encodedSaeActivations(layer.config));
  }

  /** y `[batch, pos, d_model]` of the layer that the SAE stands beside, in host units. */
  async *read(text: ReadText, y: Tensor<'f32'>, signal: AbortSignal): AsyncGenerator<HeadSequence> {
    const [batch = 0, pos = 0, d_model = 0] = y.shape;
    const size = Math.max(1, Math.floor(RUN_BYTES_MAX / (4 * pos * (this.features + d_model))));
    for (let from = 0; from < batch; from += size) {
      const count = Math.min(size, batch - from);
      const rows = pos * d_model;
      const part = y.data.slice(from * rows, (from + count) * rows);
      yield* await this.run(text, tensor('f32', [count, pos, d_model], part), { from, signal });
    }
  }

  private async run(
    text: ReadText,
    y: Tensor<'f32'>,
    { from, signal }: { readonly from: number; readonly signal: AbortSignal },
  ): Promise<HeadSequence[]> {
    const { config, weights } = this.layer;
    const [count = 0, pos = 0] = y.shape;
    const slots = config.topK;
    const k = tensor('i64', [1], BigInt64Array.of(BigInt(slots)));
    const step = {
      program: this.program,
      feeds: { y, k, ...weights },
      keep: ['values', 'indices'],
    };
    const [outputs = {}] = await this.engine.run({ steps: [step] }, { signal });
    const acts = outputs['values']?.data as Float32Array;
    const winners = Int32Array.from(outputs['indices']?.data as BigInt64Array, Number);
    return Array.from({ length: count }, (_, b): HeadSequence => {
      const at = (from + b) * pos;
      const length = text.lengths[from + b] ?? 0;
      const one = (values: ArrayLike<number>) =>
        Int32Array.from({ length }, (_, t) => values[at + t] ?? 0);
      const place = b * pos * slots;
      return {
        index: text.firstIndex + from + b,
        tokens: one(text.tokens),
        valid: one(text.valid),
        slots,
        winners: winners.subarray(place, place + length * slots),
        acts: acts.subarray(place, place + length * slots),
      };
    });
  }
}
