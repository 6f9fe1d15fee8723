import { assert } from '@heddle/core';
import { encodeModel, GraphBuilder } from '@heddle/onnx';
import type { Engine, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { buildGpt2, flatParametersInput } from './gpt2-graph.ts';
import type { Gpt2Sizes } from './parameters.ts';
import { positionsOf, programOf } from './training-step.ts';

/** What a forward pass can hand back: the likeliest next token of each place, all logits, attention patterns. */
export type ForwardOutput = 'best' | 'logits' | `pattern.${number}`;

/** A model whose behaviour is measured. */
export class Forward {
  readonly sizes: Gpt2Sizes;
  private readonly engine: Engine;
  private readonly parameters: Tensor<'f32'>;
  private readonly program: Program;

  constructor(engine: Engine, sizes: Gpt2Sizes, parameters: Tensor<'f32'>) {
    this.engine = engine;
    this.sizes = sizes;
    this.parameters = parameters;
    this.program = programOf(forwardModel(sizes));
  }

  /** Runs prompts of one length; `ablated` heads (layer, head) write nothing. */
  async run(
    prompts: readonly (readonly number[])[],
    keep: readonly ForwardOutput[],
    ablated: readonly (readonly [number, number])[] = [],
  ): Promise<Readonly<Record<string, Tensor>>> {
    const pos = prompts[0]!.length;
    assert(
      prompts.every((prompt) => prompt.length === pos),
      'prompts of one length',
    );
    const { n_layers, n_heads } = this.sizes;
    const scale = new Float32Array(n_layers * n_heads).fill(1);
    for (const [layer, head] of ablated) scale[layer * n_heads + head] = 0;
    const tokens = BigInt64Array.from(prompts.flat(), BigInt);
    const feeds = {
      parameters: this.parameters,
      tokens: tensor('i64', [prompts.length, pos], tokens),
      positions: positionsOf(prompts.length, pos),
      head_scale: tensor('f32', [n_layers, n_heads], scale),
    };
    const [outputs] = await this.engine.run({ steps: [{ program: this.program, feeds, keep }] });
    return outputs!;
  }
}

function forwardModel(sizes: Gpt2Sizes): Uint8Array {
  const g = new GraphBuilder('bundled-forward');
  const { logits, patterns } = buildGpt2(g, sizes, {
    parameters: flatParametersInput(g, 'parameters', sizes),
    tokens: g.input('tokens', 'i64', ['batch', 'pos']),
    positions: g.input('positions', 'i64', ['batch', 'pos']),
    headScale: g.input('head_scale', 'f32', [sizes.n_layers, sizes.n_heads]),
  });
  g.output('best', g.argMax(logits));
  g.output('logits', logits);
  for (const [layer, pattern] of patterns.entries()) g.output(`pattern.${layer}`, pattern);
  return encodeModel(g.build());
}
