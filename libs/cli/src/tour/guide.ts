import type { Heddle } from '@heddle/client';
import type { Job } from '@heddle/ports/proto/common';
import { CANCEL_WAIT_MS, endedBadly, started } from '../follow-job.ts';
import type { TourOutput } from './tour-output.ts';

/** What every chapter of the tour is led by. */
export interface Guide {
  readonly heddle: Heddle;
  readonly out: TourOutput;
  readonly signal: AbortSignal;
  /** The model as requests name it; empty: the bundled one. */
  readonly model: string;
}

/** Follows a job to its end with progress, and gives what it found; Ctrl-C cancels it. Errors: the job's own. */
export async function follow(
  { heddle, out, signal }: Guide,
  response: { readonly job: Job | null },
): Promise<{ readonly id: string; readonly summary: Readonly<Record<string, unknown>> }> {
  const id = started(response);
  const leave = new AbortController();
  const stop = () => {
    heddle.jobs.Cancel({ id }).catch(() => leave.abort());
    setTimeout(() => leave.abort(), CANCEL_WAIT_MS).unref();
  };
  signal.addEventListener('abort', stop, { once: true });
  const job = await heddle
    .waitForJob(id, {
      signal: leave.signal,
      onChange: ({ progress }) => {
        if (progress) out.progress(progress.done, progress.total, progress.unit, progress.message);
      },
    })
    .finally(() => signal.removeEventListener('abort', stop));
  if (job.state !== 'JOB_STATE_SUCCEEDED') throw endedBadly(job);
  const { summary } = await heddle.outcome(id, { signal });
  return { id, summary };
}

export async function tokenTexts(
  { heddle, signal, model }: Guide,
  text: string,
): Promise<string[]> {
  const { tokens } = await heddle.activation.Tokenize({ model, prompt: { text } }, { signal });
  return tokens.map((token) => token.text);
}
