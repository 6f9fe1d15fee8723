import { createHash, randomUUID } from 'node:crypto';
import { statSync, unlinkSync } from 'node:fs';
import {
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  rename,
  stat,
  unlink,
} from 'node:fs/promises';
import { join } from 'node:path';
import { dataLoss, invalidArgument, type OperationError, resourceExhausted } from '@heddle/core';
import type { BlobDigest, BlobStat, Blobs } from '@heddle/ports';
import { fileError, guarded } from './file-error.ts';
import { BLOB_LIMITS } from './limits.ts';

export interface DirectoryBlobsOptions {
  /** Budget of the whole directory; past it `put` answers `resource_exhausted`. */
  readonly bytesMax?: number;
}

const DIGEST = /^sha256:([0-9a-f]{64})$/;

/**
 * Blobs as files `ab/abcd…`: written under a temporary name, synced, renamed, and the folder synced, so that after a
 * crash a blob is there whole or not at all; read with its digest checked.
 */
export class DirectoryBlobs implements Blobs {
  private readonly directory: string;
  private readonly bytesMax: number;
  /** Of this directory, as far as this process knows; corrected by each `list`. */
  private usedBytes = 0;

  private constructor(directory: string, { bytesMax }: DirectoryBlobsOptions) {
    this.directory = directory;
    this.bytesMax = bytesMax ?? Number.POSITIVE_INFINITY;
  }

  /** Makes the directory if it is not there, and removes what crashed writers left in it. */
  static async open(
    directory: string,
    options: DirectoryBlobsOptions = {},
  ): Promise<DirectoryBlobs> {
    const blobs = new DirectoryBlobs(directory, options);
    await guarded(directory, async () => {
      await mkdir(blobs.temporary, { recursive: true });
      for (const name of await readdir(blobs.temporary)) {
        await removeOld(join(blobs.temporary, name));
      }
    });
    for await (const { bytes } of blobs.list()) void bytes; // counts what is there
    return blobs;
  }

  async put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat> {
    const temporary = join(this.temporary, randomUUID());
    return guarded(this.directory, async () => {
      const handle = await open(temporary, 'wx', 0o640);
      try {
        const { digest, bytes } = await this.write(handle, source);
        await handle.sync();
        await handle.close();
        return await this.publish(temporary, digest, bytes);
      } catch (error) {
        await handle.close().catch(() => undefined);
        await unlink(temporary).catch(() => undefined);
        throw error;
      }
    });
  }

  async *get(digest: BlobDigest): AsyncGenerator<Uint8Array> {
    const path = this.path(digest);
    const handle = await guarded(path, () => open(path, 'r'), digest);
    try {
      const hash = createHash('sha256');
      for (;;) {
        const chunk = new Uint8Array(BLOB_LIMITS.chunkBytes);
        const { bytesRead } = await guarded(path, () => handle.read(chunk, 0, chunk.length, null));
        if (bytesRead === 0) break;
        const bytes = chunk.subarray(0, bytesRead);
        hash.update(bytes);
        yield bytes;
      }
      const found = hash.digest('hex');
      if (digest !== `sha256:${found}`) throw damaged(digest, found);
    } finally {
      await handle.close();
    }
  }

  async read(digest: BlobDigest): Promise<Uint8Array> {
    const path = this.path(digest);
    const handle = await guarded(path, () => open(path, 'r'), digest);
    let bytes: Uint8Array;
    try {
      // Its own buffer from offset 0, so that the reader can view it as wider numbers.
      const { size } = await handle.stat();
      bytes = new Uint8Array(size);
      for (let at = 0; at < size; ) {
        const length = Math.min(size - at, BLOB_LIMITS.chunkBytes);
        const { bytesRead } = await guarded(path, () => handle.read(bytes, at, length, at));
        if (bytesRead === 0) break;
        at += bytesRead;
      }
    } finally {
      await handle.close();
    }
    const found = createHash('sha256').update(bytes).digest('hex');
    if (digest !== `sha256:${found}`) throw damaged(digest, found);
    return bytes;
  }

  async stat(digest: BlobDigest): Promise<BlobStat | undefined> {
    const path = this.path(digest);
    try {
      const { size, mtimeMs } = await stat(path);
      return { digest, bytes: size, modifiedMs: mtimeMs };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fileError(error, path);
    }
  }

  /**
   * Makes a blob appear under another path without a second copy of its bytes; false where the file system cannot, or the
   * blob is not there. Whoever uses it hashes it, and must not write to it.
   */
  async linkTo(digest: BlobDigest, path: string): Promise<boolean> {
    return link(this.path(digest), path).then(
      () => true,
      () => false,
    );
  }

  async remove(
    digest: BlobDigest,
    options: { readonly unlessModifiedSinceMs?: number } = {},
  ): Promise<void> {
    const path = this.path(digest);
    try {
      // Without a pause in between, so that no `put` of this process falls between look and removal.
      const { size, mtimeMs } = statSync(path);
      if (mtimeMs > (options.unlessModifiedSinceMs ?? Number.POSITIVE_INFINITY)) return;
      unlinkSync(path);
      this.usedBytes -= size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw fileError(error, path);
    }
  }

  async *list(): AsyncGenerator<BlobStat> {
    let total = 0;
    const folders = await guarded(this.directory, () => readdir(this.directory));
    for (const folder of folders.filter((name) => /^[0-9a-f]{2}$/.test(name)).sort()) {
      for (const name of (await readdir(join(this.directory, folder))).sort()) {
        const digest = `sha256:${name}` as const;
        const found = DIGEST.test(digest) ? await this.stat(digest) : undefined;
        if (found === undefined) continue;
        total += found.bytes;
        yield found;
      }
    }
    this.usedBytes = total;
  }

  private async write(
    handle: FileHandle,
    source: AsyncIterable<Uint8Array> | Uint8Array,
  ): Promise<{ readonly digest: BlobDigest; readonly bytes: number }> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of source instanceof Uint8Array ? [source] : source) {
      bytes += chunk.length;
      this.checkBudget(bytes);
      hash.update(chunk);
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, at, chunk.length - at);
        at += bytesWritten;
      }
    }
    return { digest: `sha256:${hash.digest('hex')}`, bytes };
  }

  private checkBudget(bytes: number): void {
    if (this.usedBytes + bytes <= this.bytesMax) return;
    throw resourceExhausted(
      `${bytes} more bytes of blobs pass the budget of ${this.bytesMax}, ${this.usedBytes} are used: free some (heddle gc)`,
      { details: { bytes, usedBytes: this.usedBytes, bytesMax: this.bytesMax } },
    );
  }

  private async publish(temporary: string, digest: BlobDigest, bytes: number): Promise<BlobStat> {
    const path = this.path(digest);
    const folder = join(path, '..');
    const made = await mkdir(folder, { recursive: true });
    const before = await this.stat(digest);
    // Also over an existing one: it then counts as new, and is whole again if its bytes had rotted.
    await rename(temporary, path);
    this.usedBytes += bytes - (before?.bytes ?? 0);
    await syncFolder(folder);
    if (made !== undefined) await syncFolder(this.directory);
    const kept = await this.stat(digest); // another process may have removed it by now
    return kept ?? { digest, bytes, modifiedMs: Date.now() };
  }

  private get temporary(): string {
    return join(this.directory, 'tmp');
  }

  private path(digest: BlobDigest): string {
    const hex = DIGEST.exec(digest)?.[1];
    if (hex === undefined) throw invalidArgument(`'${digest.slice(0, 80)}' is no blob's digest`);
    return join(this.directory, hex.slice(0, 2), hex);
  }
}

/** A file of a writer that died. Where several processes share the directory, a living one's may be gone before we look. */
async function removeOld(path: string): Promise<void> {
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > BLOB_LIMITS.temporaryAgeMs) await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function damaged(digest: BlobDigest, found: string): OperationError {
  return dataLoss(`blob ${digest} is damaged: its bytes hash to ${found}`);
}
