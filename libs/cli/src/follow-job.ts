import { setTimeout as sleep } from 'node:timers/promises';
import type { Heddle, Outcome } from '@heddle/client';
import { dataLoss, OperationError } from '@heddle/core';
import type { ContractName } from '@heddle/ports';
import type { ErrorDetail, Job } from '@heddle/ports/proto/common';
import { InterruptedError } from './exit-status.ts';
import type { Invocation } from './invocation.ts';
import { showProgress } from './progress.ts';

/** A cancelled job stops within its kind's bound; after this we no longer wait to see it. */
export const CANCEL_WAIT_MS = 30_000;
/** A service that is started again, on a slow machine. */
const START_PATIENCE_MS = 15_000;
const START_PAUSE_MS = 500;

/** Follows a job to its end with progress. Ctrl-C cancels it, unless `cancel` is false. Errors: the job's own. */
export async function followJob(
  invocation: Invocation,
  heddle: Heddle,
  id: string,
  { cancel = true }: { readonly cancel?: boolean } = {},
): Promise<Job> {
  const progress = await showProgress(invocation.io, invocation.json);
  let shown = { done: 0, total: 0, unit: '' };
  let waitedFor = '';
  try {
    const job = await heddle.waitForJob(id, {
      signal: invocation.signal,
      onChange: ({ progress: p, waits_for: waits }) => {
        if (waits !== '' && waits !== waitedFor && !invocation.io.terminal) {
          invocation.note(`job ${id} waits: ${waits}`);
        }
        waitedFor = waits;
        if (p === null && waits === '') return;
        if (p !== null) shown = p;
        const message = waits === '' ? (p?.message ?? '') : `waits: ${waits}`;
        progress.update(shown.done, shown.total, shown.unit, message);
      },
      onSilence: () =>
        progress.update(shown.done, shown.total, shown.unit, 'no answer; asking again'),
    });
    if (job.state === 'JOB_STATE_SUCCEEDED') return job;
    throw endedBadly(job);
  } catch (thrown) {
    if (!invocation.signal.aborted) throw lostSight(invocation, id, thrown);
    progress.stop();
    if (!cancel)
      throw new InterruptedError(`interrupted; job ${id} goes on where its service runs`);
    await cancelAndWait(invocation, heddle, id);
    throw new InterruptedError(`interrupted; job ${id} is cancelled`);
  } finally {
    progress.stop();
  }
}

/** A cluster that does not answer has not lost the job: says how to find it again. */
function lostSight({ server, heddle }: Invocation, id: string, thrown: unknown): unknown {
  const error = OperationError.from(thrown);
  const isOfJob = error.details['job'] === id;
  if (server === undefined || error.code !== 'unavailable' || isOfJob) return thrown;
  const message = `${error.message}; job ${id} goes on there: ${heddle} job watch ${id}`;
  const { code, details, retryAfterMs } = error;
  const delay = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new OperationError({ code, message, details: { ...details, job: id }, ...delay });
}

async function cancelAndWait(invocation: Invocation, heddle: Heddle, id: string): Promise<void> {
  invocation.note(`cancelling job ${id} (Ctrl-C again leaves it)`);
  const { job } = await heddle.jobs.Cancel({ id });
  if (job?.ended_ms !== undefined) return;
  await heddle.waitForJob(id, { signal: AbortSignal.timeout(CANCEL_WAIT_MS) });
}

/** Why a job that ended has no result: its own error, or that it was cancelled. */
export function endedBadly(job: Job): OperationError {
  if (job.error === null) {
    const code = job.state === 'JOB_STATE_CANCELLED' ? 'cancelled' : 'unknown';
    return new OperationError({ code, message: `job ${job.id} was cancelled` });
  }
  return fromDetail(job.id, job.error);
}

function fromDetail(id: string, error: ErrorDetail): OperationError {
  const details = error.details.map((d) => [d.name, d.text ?? d.number ?? d.flag ?? ''] as const);
  return new OperationError({
    code: error.code === '' ? 'unknown' : (error.code as OperationError['code']),
    message: `job ${id} failed: ${error.message}`,
    details: { ...Object.fromEntries(details), job: id },
    ...(error.field === '' ? {} : { field: error.field }),
  });
}

/** The job that a Start… call answered with. */
export function started(response: { readonly job: Job | null }): string {
  const id = response.job?.id ?? '';
  if (id === '') throw dataLoss('the server started a job and did not say which');
  return id;
}

/**
 * What a cluster answers, once the service that is asked is there: one that is started again takes seconds. For calls that may be
 * made twice. Without a named server nobody starts it again.
 */
async function reached<T>(invocation: Invocation, call: () => Promise<T>): Promise<T> {
  const { server, signal } = invocation;
  const untilMs = performance.now() + (server === undefined ? 0 : START_PATIENCE_MS);
  for (let told = false; ; told = true) {
    try {
      return await call();
    } catch (thrown) {
      const { code, message } = OperationError.from(thrown);
      if (code !== 'unavailable' || performance.now() >= untilMs || signal.aborted) throw thrown;
      if (!told) invocation.note(`${message}; asking again for ${START_PATIENCE_MS / 1000} s`);
      await sleep(START_PAUSE_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

export interface JobWork {
  readonly detach?: boolean;
  /** Starts the job under the key, so that starting it twice starts one. */
  start(heddle: Heddle, key: string): Promise<{ readonly job: Job | null }>;
  /** What to do with the outcome while the server is still there: fetch files. */
  finish(heddle: Heddle, outcome: Outcome): Promise<{ document: object; text: string }>;
}

/** A command that is a job: starts it, says its id, follows it, shows what it found. With --detach only the first two. */
export async function runJob(
  invocation: Invocation,
  contracts: readonly ContractName[],
  { detach = false, start, finish }: JobWork,
): Promise<void> {
  const key = `cli-${crypto.randomUUID()}`;
  await invocation.withHeddle({ contracts, detach }, async (heddle) => {
    const id = started(await reached(invocation, () => start(heddle, key)));
    if (detach) {
      const text = `job ${id} started; follow it with \`${invocation.heddle} job watch ${id}\``;
      return invocation.print({ job: id, state: 'started' }, text);
    }
    invocation.note(`job ${id}`);
    await followJob(invocation, heddle, id);
    const outcome = await heddle.outcome(id);
    const { document, text } = await finish(heddle, outcome);
    invocation.print({ job: id, ...document }, text);
  });
}
