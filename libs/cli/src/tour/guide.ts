import type { Heddle } from '@heddle/client';
import { OperationError } from '@heddle/core';
import type { Job } from '@heddle/ports/proto/common';
import type { TourOutput } from './tour-output.ts';

/** What every chapter of the tour is led by. */
export interface Guide {
  readonly heddle: Heddle;
  readonly out: TourOutput;
  readonly signal: AbortSignal;
  /** The model as requests name it; empty: the bundled one. */
  readonly model: string;
}

/** Ctrl-C cancels the chapter's job; after this we no longer wait to see it end. */
const CANCEL_WAIT_MS = 30_000;

/** Follows a job to its end with progress, and gives what it found. Errors: the job's own. */
export async function follow(
  { heddle, out, signal }: Guide,
  started: Job | null,
): Promise<{ readonly id: string; readonly summary: Readonly<Record<string, unknown>> }> {
  const id = started?.id ?? '';
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
  if (job.state !== 'JOB_STATE_SUCCEEDED') {
    throw new OperationError({
      code: job.state === 'JOB_STATE_CANCELLED' ? 'cancelled' : 'internal',
      message: `job ${id} (${job.kind}) did not succeed: ${job.error?.message ?? job.state}`,
    });
  }
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
