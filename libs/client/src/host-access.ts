import { dataLoss, invalidArgument, notFound } from '@heddle/core';
import { type HostScope, type ProcessedHost, readHost } from '@heddle/interp/host';
import type { Client, Hub, Init } from '@heddle/ports';
import type { ActivationService, ModelInfo, RunRequest } from '@heddle/ports/proto/activation';
import type { Prompt, Provenance, TargetToken } from '@heddle/ports/proto/common';
import type { Tensor } from '@heddle/tensor';
import { type WeightStore, withHostModel } from './host-model.ts';
import { collectRun } from './tensors.ts';

/** A prompt as a job's request keeps it. */
export type PromptJson = { readonly text: string } | { readonly tokens: readonly number[] };
export type TokenizeJson = { readonly bos: boolean; readonly no_special: boolean };
export type TargetJson = { readonly text: string } | { readonly id: number };

export interface HostAccessDeps {
  readonly activation: Client<ActivationService>;
  readonly hub: Hub;
  readonly store: WeightStore;
}

export interface CapturedPrompts {
  value(prompt: number, hook: string): Tensor;
  readonly provenance: Provenance | null;
}

/** Bytes of one capture: 64 prompts of 64 tokens with all hooks of a 30-layer model are less. */
const CAPTURE_BYTES_MAX = 2 ** 30;

/**
 * How a service reaches a model for its mathematics: values come from the activation server,
 * weights from the model's folder, where they lie. Keeps the model that was asked for last; a
 * question about the same one reads no file again.
 */
export class HostAccess {
  private readonly deps: HostAccessDeps;
  private kept: { digest: string; scope: HostScope; host: ProcessedHost } | undefined;

  constructor(deps: HostAccessDeps) {
    this.deps = deps;
  }

  /** Errors: those of DescribeModel. */
  async describe(model: string, signal?: AbortSignal): Promise<ModelInfo> {
    const { model: info } = await this.deps.activation.DescribeModel({ model }, { signal });
    if (info === null) throw notFound(`no model ${model}`, { field: 'model' });
    return info;
  }

  /** Folded weights of the first layers, and of the unembedding where logits are asked about. */
  async host(
    info: ModelInfo,
    scope: HostScope,
    { signal, pulse }: { readonly signal: AbortSignal; readonly pulse: () => Promise<void> },
  ): Promise<ProcessedHost> {
    const { kept } = this;
    const isEnough =
      kept?.digest === info.digest &&
      kept.scope.layers >= scope.layers &&
      (kept.scope.logits || !scope.logits);
    if (isEnough) return kept.host;
    this.kept = undefined;
    const host = await withHostModel(
      this.deps,
      info,
      async ({ model, reader }) => {
        signal.throwIfAborted();
        return readHost(model, scope, (role) => reader.read(role), pulse);
      },
      signal,
    );
    this.kept = { digest: info.digest, scope, host };
    return host;
  }

  async tokenize(
    model: string,
    prompt: PromptJson,
    options: TokenizeJson,
    signal: AbortSignal,
  ): Promise<readonly number[]> {
    if ('tokens' in prompt) return prompt.tokens;
    const request = { model, prompt, options };
    const { tokens } = await this.deps.activation.Tokenize(request, { signal });
    return tokens.map(({ id }) => id);
  }

  /**
   * The id of a target. Errors: `invalid_argument` for a text that is not exactly one token, naming
   * the field.
   */
  async target(
    model: string,
    target: TargetJson,
    field: string,
    signal: AbortSignal,
  ): Promise<number> {
    if ('id' in target) return target.id;
    const options = { bos: false, no_special: true };
    const ids = await this.tokenize(model, { text: target.text }, options, signal);
    const [id] = ids;
    if (id !== undefined && ids.length === 1) return id;
    throw invalidArgument(
      `${field} ${JSON.stringify(target.text)} is ${ids.length} tokens (${ids.join(', ')}); name one token, often with its leading space, or id:N`,
      { field, details: { tokens: ids.length } },
    );
  }

  /** Values at hook points for prompts of token ids, in a batch that no other caller joins. */
  async capture(
    model: string,
    prompts: readonly (readonly number[])[],
    hooks: readonly string[],
    signal: AbortSignal,
    edits: Pick<Init<RunRequest>, 'interventions' | 'positions'> = {},
  ): Promise<CapturedPrompts> {
    const run = await collectRun(
      this.deps.activation,
      { model, prompts: prompts.map((ids) => ({ tokens: { ids } })), hooks, alone: true, ...edits },
      { signal, bytesMax: CAPTURE_BYTES_MAX },
    );
    const values = new Map(
      run.tensors.map(({ label, tensor }) => [`${label.prompt} ${label.name}`, tensor]),
    );
    return {
      provenance: run.end.provenance,
      value: (prompt, hook) => {
        const found = values.get(`${prompt} ${hook}`);
        if (found) return found;
        throw dataLoss(`the activation server sent no ${hook} of prompt ${prompt}`);
      },
    };
  }
}

/**
 * A prompt of a request as JSON. Errors: `invalid_argument` naming the field when it has neither
 * text nor tokens.
 */
export function promptJson(prompt: Prompt | null, field: string): PromptJson {
  if (prompt?.tokens && prompt.tokens.ids.length > 0) return { tokens: [...prompt.tokens.ids] };
  if (prompt?.text !== undefined && prompt.text !== '') return { text: prompt.text };
  throw invalidArgument(`${field} has neither text nor tokens`, { field });
}

/** A target of a request as JSON; absent is null. */
export function targetJson(target: TargetToken | null, field: string): TargetJson | null {
  if (target === null) return null;
  if (target.id !== undefined) return { id: target.id };
  if (target.text !== undefined && target.text !== '') return { text: target.text };
  throw invalidArgument(`${field} has neither text nor id`, { field });
}
