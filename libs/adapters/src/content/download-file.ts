import { OperationError } from '@heddle/core';
import type {
  BlobDigest,
  Blobs,
  BringOptions,
  Clock,
  RemoteModels,
  SourceFile,
} from '@heddle/ports';
import { ATTEMPTS_MAX, RETRY_MS, RETRY_MS_MAX } from './limits.ts';
import type { PartialFile, PartialFiles } from './partial-files.ts';

export interface DownloadDeps {
  readonly remote: RemoteModels;
  readonly partials: PartialFiles;
  readonly blobs: Blobs;
  readonly clock: Clock;
}

/**
 * One file from elsewhere into the blob store. What broke off is asked for from where it was, as often as bytes come;
 * without a byte gained, `ATTEMPTS_MAX` times. Wrong bytes are asked for once more from their beginning.
 */
export async function downloadFile(
  deps: DownloadDeps,
  pinned: string,
  file: SourceFile,
  { signal, onBytes }: BringOptions,
): Promise<BlobDigest> {
  const partial = await deps.partials.take({ ...file, name: `${pinned} ${file.name}` });
  try {
    for (let wrong = 0; ; wrong++) {
      await fill(deps, pinned, file, partial, { signal, ...(onBytes ? { onBytes } : {}) });
      try {
        return await partial.finish(deps.blobs);
      } catch (thrown) {
        if (OperationError.from(thrown).code !== 'data_loss' || wrong > 0) throw thrown;
      }
    }
  } finally {
    await partial.close();
  }
}

async function fill(
  { remote, clock }: DownloadDeps,
  pinned: string,
  file: SourceFile,
  partial: PartialFile,
  { signal, onBytes }: BringOptions,
): Promise<void> {
  onBytes?.(partial.bytes);
  for (let failures = 0; partial.bytes < file.bytes; ) {
    signal.throwIfAborted();
    const before = partial.bytes;
    const broken = await readOn(remote, pinned, file, partial, {
      signal,
      ...(onBytes ? { onBytes } : {}),
    });
    if (broken === undefined) continue;
    signal.throwIfAborted();
    if (!broken.retryable) throw broken;
    failures = partial.bytes > before ? 1 : failures + 1;
    if (failures >= ATTEMPTS_MAX) throw broken;
    const backoffMs = RETRY_MS * 2 ** (failures - 1);
    await clock.sleep(Math.min(broken.retryAfterMs ?? backoffMs, RETRY_MS_MAX), signal);
  }
}

/** Reads until the end or a break; the break is returned. */
async function readOn(
  remote: RemoteModels,
  pinned: string,
  file: SourceFile,
  partial: PartialFile,
  { signal, onBytes }: BringOptions,
): Promise<OperationError | undefined> {
  try {
    for await (const chunk of remote.read(pinned, file, partial.bytes, signal)) {
      await partial.append(chunk);
      onBytes?.(partial.bytes);
    }
  } catch (thrown) {
    return OperationError.from(thrown);
  }
  if (partial.bytes >= file.bytes) return undefined;
  return new OperationError({
    code: 'unavailable',
    message: `${pinned} ${file.name}: broke off after ${partial.bytes} of ${file.bytes} bytes`,
  });
}
