import { loadModel, openModelFolder, programOf } from '@heddle/adapters/hub';
import { assert, present } from '@heddle/core';
import {
  buildSegment,
  type ForwardPlan,
  type Intervention,
  padTokens,
  planForward,
  stepFeeds,
} from '@heddle/models';
import type { Engine, LoadedModel, Program } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';

export interface ForwardOptions {
  /** Rows of batch · pos whose logits are wanted; every row when left out. */
  readonly logitRows?: readonly number[];
  /** Heads (layer, head) whose z is set to 0. */
  readonly ablated?: readonly (readonly [number, number])[];
}

/** A model in its folder, run as every user's model is: in segments of `@heddle/models`. */
export class MeasuredModel {
  readonly model: LoadedModel;
  private readonly engine: Engine;
  private readonly programs = new Map<string, Program>();

  private constructor(engine: Engine, model: LoadedModel) {
    this.engine = engine;
    this.model = model;
  }

  static async open(engine: Engine, folder: string): Promise<MeasuredModel> {
    return new MeasuredModel(engine, await loadModel(await openModelFolder(folder)));
  }

  /** Values at hook points for prompts of one length, each with the batch first. */
  async run(
    prompts: readonly (readonly number[])[],
    hooks: readonly string[],
    options: ForwardOptions = {},
  ): Promise<ReadonlyMap<string, Tensor<'f32'>>> {
    const pos = prompts[0]!.length;
    assert(
      prompts.every((prompt) => prompt.length === pos),
      'prompts of one length',
    );
    const changes = zeroHeads(prompts.length, options.ablated ?? []);
    const interventions = [...new Set(changes.map(({ hook }) => hook))];
    const size = { batch: prompts.length, pos };
    const plan = planForward(this.model, { hooks, interventions, ...size });
    const feeds = stepFeeds(this.model, plan, {
      tokens: padTokens(this.model.config, prompts),
      interventions: changes,
      ...(options.logitRows ? { logitRows: options.logitRows } : {}),
    });
    const steps = plan.steps.map((step, i) => ({
      program: this.program(step),
      feeds: feeds[i]!,
      keep: [...plan.outputs.values()].filter((out) => out.step === i).map((out) => out.output),
    }));
    const outputs = await this.engine.run({ steps });
    return new Map(
      [...plan.outputs].map(([hook, { step, output }]) => [
        hook,
        present(outputs[step]?.[output], hook) as Tensor<'f32'>,
      ]),
    );
  }

  private program({ key, segment, request }: ForwardPlan['steps'][number]): Program {
    const known = this.programs.get(key);
    if (known) return known;
    const program = programOf(this.model, buildSegment(this.model, segment, request));
    this.programs.set(key, program);
    return program;
  }
}

function zeroHeads(
  prompts: number,
  heads: readonly (readonly [number, number])[],
): readonly Intervention[] {
  return heads.flatMap(([layer, head]) =>
    Array.from({ length: prompts }, (_, prompt) => ({
      prompt,
      hook: `blocks.${layer}.attn.hook_z`,
      kind: 'zero' as const,
      heads: [head],
    })),
  );
}
