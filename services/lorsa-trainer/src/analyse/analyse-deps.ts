import { HostAccess } from '@heddle/client';
import type { Tensor } from '@heddle/tensor';
import { ensureBaseline, openBaseline } from '../evaluate/baseline.ts';
import { readHostLayer } from '../host-layer.ts';
import type { LorsaDeps } from '../part.ts';
import { openUnseen, unseenDeps } from '../unseen.ts';
import type { AnalyseDeps } from './analysis.ts';
import { readVocabulary, textsOf } from './vocabulary-pass.ts';

/** What an analysis needs, out of what the composition root gives the service. */
export function analyseDeps(deps: LorsaDeps, layer: AnalyseDeps['layer']): AnalyseDeps {
  const { engine, metrics, versions, peers } = deps;
  const hosts = new HostAccess({ ...deps, activation: peers.activation });
  const idsOf = async (model: string, text: string, no_special: boolean, signal: AbortSignal) => {
    const request = { model, prompt: { text }, options: { no_special } };
    return (await peers.activation.Tokenize(request, { signal })).tokens;
  };
  return {
    engine,
    metrics,
    versions,
    layer,
    unseen: (context, { checkpoint, model, data }) =>
      openUnseen(unseenDeps(deps), context, { checkpoint, model, data }),
    host: (model, layer) => readHostLayer(deps, model, layer),
    vocabulary: (model) => readVocabulary(deps, model),
    // With the training's seed 0, which an evaluation of the same training shares.
    baseline: async ({ checkpoint }, context) => {
      const { signal } = context;
      const waiting = (job: string) =>
        context.progress({
          done: 0,
          total: 0,
          unit: 'passes',
          message: `training baseline ${job}`,
        });
      const job = await ensureBaseline(deps, checkpoint, 0, signal, waiting);
      return { layer: await openBaseline(deps, job), digest: (await deps.jobs.result(job)).digest };
    },
    encode: async (model, texts, signal) => {
      if (!(await hosts.describe(model, signal)).tokenizer) return [];
      const read = texts.map(
        async (text) => [text, await idsOf(model, text, true, signal)] as const,
      );
      return (await Promise.all(read)).map(([text, tokens]) => [text, tokens.map(({ id }) => id)]);
    },
    prefix: async (model, signal) => {
      if (!(await hosts.describe(model, signal)).tokenizer) return [];
      const tokens = await idsOf(model, 'a', false, signal);
      const first = tokens.findIndex(({ special }) => !special);
      return tokens.slice(0, Math.max(0, first)).map(({ id }) => id);
    },
    texts: (of, tokens, signal) => textsOf(peers, of, tokens, signal),
    capture: async (model, hook, sequences, signal) => {
      const captured = await hosts.capture(model, sequences, [hook], signal);
      return sequences.map((_, at) => captured.value(at, hook) as Tensor<'f32'>);
    },
  };
}
