import type { Init } from '@heddle/ports';
import type { StartEvaluateRequest } from '@heddle/ports/proto/lorsa';
import type { Command } from 'commander';
import { checkpointReference } from '../../arguments/checkpoint.ts';
import { parseLongSize, parsePlaces } from '../../arguments/lists.ts';
import { modelReference } from '../../arguments/model.ts';
import { readTrainingText } from '../../arguments/training-text.ts';
import { runJob } from '../../follow-job.ts';
import type { Invocation } from '../../invocation.ts';
import { type EvaluationSummary, showEvaluation } from '../../show-evaluation.ts';

interface EvalOptions {
  readonly model?: string;
  readonly corpus?: string;
  readonly k?: number[];
  readonly tokens?: number;
  readonly baseline?: boolean;
  readonly detach?: boolean;
}

export function addEval(lorsa: Command, invocation: Invocation): void {
  lorsa
    .command('eval <run>')
    .description('measure a checkpoint, alone and inside its host, on text that did not train it')
    .option('--model <model>', 'the host (default: the one that it was trained on)')
    .option('--corpus <file>', "text to measure on (default: the training's held-out part)")
    .option('--k <list>', 'also at these K, the weights unchanged: 8,16,32', parsePlaces)
    .option('--tokens <n>', 'about so many tokens, spread evenly (default: all)', parseLongSize)
    .option('--baseline', 'also a TopK SAE of the same width on the same data, trained if need be')
    .option('--detach', 'return at once (needs `heddle up`)')
    .action((run: string, options: EvalOptions) => evaluate(invocation, run, options));
}

async function evaluate(invocation: Invocation, run: string, options: EvalOptions): Promise<void> {
  const { corpus, tokens: tokens_max } = options;
  const text = corpus === undefined ? {} : await readTrainingText(invocation, corpus);
  const request: Init<StartEvaluateRequest> = {
    checkpoint: checkpointReference(invocation, run),
    model: modelReference(invocation, options.model),
    data: { ...text, tokens_max },
    top_k: options.k,
    baseline: options.baseline,
  };
  await runJob(invocation, ['activation', 'lorsa'], {
    detach: options.detach ?? false,
    start: (heddle, key) => heddle.lorsa.StartEvaluate({ ...request, client_key: key }),
    finish: async (_, { summary, provenance }) => ({
      document: { summary, provenance },
      text: showEvaluation(summary as unknown as EvaluationSummary),
    }),
  });
}
