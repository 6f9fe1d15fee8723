import type { Heddle } from '@heddle/client';
import { OperationError } from '@heddle/core';
import { InterruptedError } from './exit-status.ts';
import { followJob, started } from './follow-job.ts';
import type { Invocation } from './invocation.ts';
import { showProgress } from './progress.ts';
import { showBytes } from './show.ts';

/**
 * Runs what was asked; where it needs a model of a hub that nobody imported, imports it first, with progress, and runs it then.
 * Only for services of one's own: what a cluster downloads, its people decide (`heddle model add`).
 */
export async function importedFirst<T>(
  invocation: Invocation,
  heddle: Heddle,
  body: (heddle: Heddle) => Promise<T>,
): Promise<T> {
  const imported = new Set<string>();
  for (;;) {
    try {
      return await body(heddle);
    } catch (thrown) {
      const { code, details } = OperationError.from(thrown);
      const source = details['import'];
      if (code !== 'not_found' || typeof source !== 'string' || imported.has(source)) throw thrown;
      imported.add(source);
      invocation.note(`${source} is not here yet: fetching it`);
      const job = await heddle.activation.StartImportModel({ source });
      await followJob(invocation, heddle, started(job));
    }
  }
}

/** Sends a folder of this machine, as much of it as the cluster lacks. Returns what to import. */
export async function sendModel(
  invocation: Invocation,
  heddle: Heddle,
  path: string,
): Promise<string> {
  const { uploadModel } = await import('@heddle/client');
  const progress = await showProgress(invocation.io, invocation.json);
  let allBytes = 0;
  try {
    const { source, sentBytes } = await uploadModel(heddle.activation, path, {
      signal: invocation.signal,
      onProgress: (done, total, what) => {
        allBytes = total;
        progress.update(done, total, 'bytes', what);
      },
    });
    progress.stop();
    const rest = sentBytes < allBytes ? ` of ${showBytes(allBytes)}; the rest was there` : '';
    invocation.note(`sent ${showBytes(sentBytes)}${rest}`);
    return source;
  } catch (thrown) {
    if (!invocation.signal.aborted) throw thrown;
    throw new InterruptedError('interrupted; asked again, only the rest is sent');
  } finally {
    progress.stop();
  }
}
