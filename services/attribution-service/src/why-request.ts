import {
  type PromptJson,
  promptJson,
  type TargetJson,
  type TokenizeJson,
  targetJson,
} from '@heddle/client';
import { invalidArgument } from '@heddle/core';
import { requireTwinLength } from '@heddle/interp/host';
import type { StartWhyRequest } from '@heddle/ports/proto/attribution';

/** A question as it was asked, in JSON: what the job's journal and the provenance keep. */
export type WhyRequest = {
  readonly model: string;
  readonly prompt: PromptJson;
  readonly options: TokenizeJson;
  readonly question:
    | {
        readonly kind: 'score';
        readonly layer: number;
        readonly head: number;
        readonly query: number;
        readonly key: number | null;
      }
    | {
        readonly kind: 'logit';
        readonly token: TargetJson | null;
        readonly position: number | null;
      };
};

/** What can be checked before the model is known; the rest is checked when the job starts. */
export function checkedWhy(request: StartWhyRequest): WhyRequest {
  const { score, logit } = request;
  const prompt = promptJson(request.prompt, 'prompt');
  if ('tokens' in prompt) requireTwinLength(prompt.tokens.length);
  const common = {
    model: request.model,
    prompt,
    options: {
      bos: request.options?.bos ?? false,
      no_special: request.options?.no_special ?? false,
    },
  };
  if (score) {
    if (score.head === null) {
      throw invalidArgument('score.head is missing: name one as L.H', { field: 'score.head' });
    }
    const { layer, head } = score.head;
    const { query, key } = score;
    if (key !== undefined && key > query) {
      throw invalidArgument(`score.key is ${key}, after the query at ${query}`, {
        field: 'score.key',
        details: { limit: query },
      });
    }
    return { ...common, question: { kind: 'score', layer, head, query, key: key ?? null } };
  }
  if (logit) {
    const token = targetJson(logit.token, 'logit.token');
    return { ...common, question: { kind: 'logit', token, position: logit.position ?? null } };
  }
  throw invalidArgument('the request asks nothing: give score or logit', { field: 'question' });
}
