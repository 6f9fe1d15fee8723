import { invalidArgument, OperationError } from '@heddle/core';
import { type Clients, TensorCollector } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import { CAPTURE_BYTES_MAX } from './limits.ts';
import type { TextOrTokens } from './train-request.ts';

/** Tokens of one prompt; special ones (BOS, EOS, padding) stay keys but count in no loss and no metric. */
export interface Tokens {
  readonly ids: readonly number[];
  readonly special: readonly boolean[];
}

/** Input and target of one layer on one sequence, `[pos, d_model]`. */
export interface Captured {
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
}

/** Where activations come from. */
export interface Activations {
  tokenize(model: string, prompt: TextOrTokens, signal: AbortSignal): Promise<Tokens>;
  /** Values at two hook points, in the order of the sequences; each call is one batch that nobody else joins. */
  capture(
    model: string,
    hooks: { readonly hookIn: string; readonly hookOut: string },
    sequences: readonly (readonly number[])[],
    signal: AbortSignal,
  ): Promise<readonly Captured[]>;
}

/** The activation server over gRPC. */
export function remoteActivations({ activation }: Pick<Clients, 'activation'>): Activations {
  return {
    async tokenize(model, prompt, signal) {
      if ('tokens' in prompt) {
        return { ids: prompt.tokens, special: prompt.tokens.map(() => false) };
      }
      const request = { model, prompt: { text: prompt.text } };
      const { tokens } = await activation.Tokenize(request, { signal });
      return { ids: tokens.map(({ id }) => id), special: tokens.map(({ special }) => special) };
    },

    async capture(model, { hookIn, hookOut }, sequences, signal) {
      const prompts = sequences.map((ids) => ({ tokens: { ids } }));
      const hooks = [hookIn, hookOut];
      const collector = new TensorCollector(CAPTURE_BYTES_MAX);
      const found = new Map<string, Tensor<'f32'>>();
      const replies = activation.Run({ model, prompts, hooks, alone: true }, { signal });
      for await (const part of replies) {
        if (!part.header && !part.chunk) continue;
        const done = collector.add(part);
        if (done) found.set(`${done.label.prompt} ${done.label.name}`, checked(done));
      }
      collector.end();
      return sequences.map((_, index) => {
        const at = (hook: string) => {
          const tensor = found.get(`${index} ${hook}`);
          if (tensor) return tensor;
          throw new OperationError({
            code: 'internal',
            message: `the activation server sent no ${hook} of sequence ${index}`,
          });
        };
        return { x: at(hookIn), y: at(hookOut) };
      });
    },
  };
}

function checked(part: { label: { name: string }; tensor: Tensor }): Tensor<'f32'> {
  const { label, tensor } = part;
  if (tensor.dtype !== 'f32') {
    throw new OperationError({
      code: 'internal',
      message: `${label.name} came as ${tensor.dtype}`,
    });
  }
  const bad = (tensor.data as Float32Array).findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return tensor as Tensor<'f32'>;
  throw invalidArgument(
    `${label.name} holds ${tensor.data[bad]} at element ${bad} of ${tensor.shape.join(' × ')}: the model overflows on this text`,
    { field: 'data', details: { hook: label.name, index: bad } },
  );
}
