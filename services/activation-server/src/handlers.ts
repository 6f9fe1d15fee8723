import { OperationError } from '@heddle/core';
import {
  type CallContext,
  type Callers,
  type Clock,
  type Engine,
  type Handlers,
  type Init,
  type Metrics,
  tensorParts,
} from '@heddle/ports';
import type { ActivationService, RunRequest, RunResponse } from '@heddle/ports/proto/activation';
import type { Prompt } from '@heddle/ports/proto/common';
import { type CheckedRun, checkRun } from './check-run.ts';
import { checkReplyBytes } from './compute.ts';
import { LOSS_PER_TOKEN } from './loss-per-token.ts';
import { hookMessages, infoOf } from './model-info.ts';
import type { ModelRegistry } from './model-registry.ts';
import type { OpenModel } from './open-model.ts';
import { provenanceOf } from './provenance.ts';
import { tokensOf } from './read-prompt.ts';
import type { RunService } from './run-service.ts';
import type { TextTurns } from './text-turns.ts';

export interface HandlerDeps {
  readonly registry: ModelRegistry;
  readonly runs: RunService;
  readonly turns: TextTurns;
  readonly callers: Callers | undefined;
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly versions: Readonly<Record<string, string>>;
}

/** proto in, message out; error in, status out. Jobs are in `cache/` and `import/`. */
export function activationHandlers(deps: HandlerDeps): Handlers<ActivationService> {
  const { registry } = deps;
  return {
    async ListModels() {
      const models = await registry.list();
      return {
        models: models.map((entry) =>
          'error' in entry
            ? { name: entry.named.name, path: entry.named.path, digest: entry.named.digest }
            : infoOf(entry),
        ),
      };
    },

    async DescribeModel({ model }) {
      return { model: infoOf(await registry.describe(model)) };
    },

    async ListHooks({ model }) {
      return { hooks: hookMessages(await registry.reading(model)) };
    },

    async Tokenize({ model, prompt, options }, { signal }) {
      const reading = await registry.reading(model);
      const { tokenizer } = reading;
      const special = new Set([tokenizer?.bosId, tokenizer?.eosId]);
      return deps.turns.take(textBytes([prompt]), signal, () => ({
        tokens: tokensOf(prompt, options, reading, 'prompt').map((id) => ({
          id,
          text: tokenizer && id < tokenizer.vocabularySize ? tokenizer.token(id) : '',
          special: special.has(id),
        })),
      }));
    },

    Run: (request, call) => counted(deps, run(deps, request, call)),
  };
}

async function* run(
  deps: HandlerDeps,
  request: RunRequest,
  call: CallContext,
): AsyncGenerator<Init<RunResponse>> {
  const { registry, runs, turns } = deps;
  const { signal } = call;
  const caller = callerOf(request, deps);
  const open = await registry.open(request.model);
  // Asked before the texts are read, which costs more than the refusal; and once more when it is their turn.
  runs.refuseWhenFull(caller);
  const checked = await turns.take(textBytes(request.prompts), signal, () => {
    runs.refuseWhenFull(caller);
    return checkRun(request, open);
  });
  const byteLength = checkReplyBytes(checked);
  const release = await registry.hold(open);
  try {
    yield* reply(deps, request, { open, checked, byteLength, caller }, call);
  } finally {
    release();
  }
}

interface Asked {
  readonly open: OpenModel;
  readonly checked: CheckedRun;
  readonly byteLength: number;
  readonly caller: string;
}

/** While the model's files are held: sessions are opened out of them at any time. */
async function* reply(
  deps: HandlerDeps,
  request: RunRequest,
  { open, checked, byteLength, caller }: Asked,
  call: CallContext,
): AsyncGenerator<Init<RunResponse>> {
  const results = deps.runs.run(open.model, checked, { signal: call.signal, caller });
  // The first result comes before anything is said, so that a refusal by the queue is a status and not a broken stream.
  let next = await results.next();
  yield { start: startOf(checked, byteLength) };
  let programs: readonly string[] = [];
  let run_ms = 0;
  for (let prompt = 0; !next.done; prompt++) {
    const { tensors, engineMs } = next.value;
    ({ programs } = next.value);
    run_ms += engineMs;
    for (const { name, axes } of checked.hooks) {
      const value = tensors.get(name);
      if (value) yield* tensorParts(value, { name, prompt, axes });
    }
    const loss = tensors.get(LOSS_PER_TOKEN);
    if (loss) yield* tensorParts(loss, { name: LOSS_PER_TOKEN, prompt, axes: ['pos'] });
    next = await results.next();
  }
  deps.metrics.add('activation_reply_bytes_total', byteLength);
  yield {
    end: { provenance: await provenance(deps, request, open, checked, programs, call), run_ms },
  };
}

/** Who shares the queue with whom: tenants, and within each the passes of jobs with what people ask at their screens. */
function callerOf({ alone }: RunRequest, { callers }: HandlerDeps): string {
  const tenant = callers?.current().tenant ?? '';
  return alone ? `${tenant} jobs` : tenant;
}

const textBytes = (prompts: readonly (Prompt | null)[]): number =>
  prompts.reduce((sum, prompt) => sum + (prompt?.text?.length ?? 0), 0);

function startOf(run: CheckedRun, byteLength: number): Init<RunResponse['start']> {
  return {
    prompts: run.prompts.map(({ id, tokens }) => ({ id, tokens: { ids: tokens } })),
    hooks: run.hooks.map(({ name }) => name),
    byte_length: byteLength,
  };
}

async function provenance(
  { engine, clock, versions }: HandlerDeps,
  request: RunRequest,
  open: OpenModel,
  run: CheckedRun,
  programs: readonly string[],
  { method }: CallContext,
) {
  const report = await engine.report();
  return provenanceOf({
    request,
    open,
    run,
    programs,
    report,
    method,
    createdMs: clock.now(),
    versions,
  });
}

/** Counts how runs end; a caller that stops reading has cancelled. */
async function* counted(
  { metrics }: HandlerDeps,
  parts: AsyncGenerator<Init<RunResponse>>,
): AsyncGenerator<Init<RunResponse>> {
  let outcome = 'cancelled';
  try {
    yield* parts;
    outcome = 'done';
  } catch (thrown) {
    outcome = outcomeOf(OperationError.from(thrown).code);
    throw thrown;
  } finally {
    metrics.add('activation_requests_total', 1, { outcome });
  }
}

const REFUSALS = new Set([
  'invalid_argument',
  'not_found',
  'resource_exhausted',
  'failed_precondition',
  'permission_denied',
  'unimplemented',
]);

const outcomeOf = (code: string): string =>
  code === 'cancelled' ? 'cancelled' : REFUSALS.has(code) ? 'refused' : 'failed';
