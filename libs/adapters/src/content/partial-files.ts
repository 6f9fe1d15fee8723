import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { dataLoss, OperationError, resourceExhausted } from '@heddle/core';
import type { BlobDigest, Blobs } from '@heddle/ports';
import { guarded } from '../fs/file-error.ts';
import { PARTIAL_AGE_MS, PIECE_BYTES } from './limits.ts';

/** What a file's bytes must be: as `SourceFile`, and named for people. */
export interface Expected {
  readonly name: string;
  readonly bytes: number;
  /** `sha256:…`, `git:…` or empty. */
  readonly check: string;
}

/**
 * *Files that are on their way here.* Their first bytes lie in a folder of this process, under the digest that the whole must
 * have, so that after a break, or a kill, only the rest is sent. Nobody reads them but who goes on with them; the whole is
 * hashed before anything is made of it.
 */
export class PartialFiles {
  private readonly directory: string;
  private readonly bytesMax: number;
  private readonly busy = new Set<string>();

  private constructor(directory: string, bytesMax: number) {
    this.directory = directory;
    this.bytesMax = bytesMax;
  }

  /** `bytesMax`: of all partial files together. */
  static async open(directory: string, bytesMax: number): Promise<PartialFiles> {
    const partials = new PartialFiles(directory, bytesMax);
    await guarded(directory, () => mkdir(directory, { recursive: true }));
    for (const { path, modifiedMs } of await partials.list()) {
      if (Date.now() - modifiedMs > PARTIAL_AGE_MS) await unlink(path);
    }
    return partials;
  }

  /** Bytes that are there of a file; 0 where none are. */
  async there({ check, bytes }: Expected): Promise<number> {
    if (check === '') return 0;
    const size = await stat(this.path(check)).then(
      (found) => found.size,
      () => 0,
    );
    return Math.min(size, bytes);
  }

  /** Opens a file to go on with it. Errors: `aborted` while somebody else does; `resource_exhausted` without room. */
  async take(expected: Expected): Promise<PartialFile> {
    const path = this.path(expected.check);
    if (this.busy.has(path)) {
      throw new OperationError({
        code: 'aborted',
        message: `${expected.name} is being received by another call; ask again when that has ended`,
      });
    }
    this.busy.add(path);
    try {
      await this.makeRoom(path, expected);
      const handle = await guarded(path, () => open(path, 'a+', 0o640));
      const { size } = await handle.stat();
      return new PartialFile(path, expected, handle, size, () => this.busy.delete(path));
    } catch (thrown) {
      this.busy.delete(path);
      throw thrown;
    }
  }

  /** Others' partial files give way, the oldest first: they can be sent again, and this one is being sent now. */
  private async makeRoom(path: string, { name, bytes }: Expected): Promise<void> {
    const others = (await this.list()).filter((file) => file.path !== path);
    let used = others.reduce((sum, file) => sum + file.bytes, 0);
    for (const file of others.sort((a, b) => a.modifiedMs - b.modifiedMs)) {
      if (used + bytes <= this.bytesMax) return;
      if (this.busy.has(file.path)) continue;
      await unlink(file.path).catch(() => undefined);
      used -= file.bytes;
    }
    if (used + bytes <= this.bytesMax) return;
    throw resourceExhausted(
      `${name} has ${bytes} bytes; files on their way here may have ${this.bytesMax} together, and ${used} are others' (HEDDLE_MODELS_GIB)`,
      { retryable: used > 0, details: { bytes, used, limit: this.bytesMax } },
    );
  }

  private async list() {
    const files = [];
    for (const name of await readdir(this.directory)) {
      const path = join(this.directory, name);
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile()) files.push({ path, bytes: found.size, modifiedMs: found.mtimeMs });
    }
    return files;
  }

  private path(check: string): string {
    return join(this.directory, createHash('sha256').update(check).digest('hex'));
  }
}

/** One file that somebody goes on with. Closed by `close`, whatever happened. */
export class PartialFile {
  private readonly path: string;
  private readonly expected: Expected;
  private readonly handle: FileHandle;
  private readonly free: () => void;
  /** Bytes that are there. */
  bytes: number;

  constructor(
    path: string,
    expected: Expected,
    handle: FileHandle,
    bytes: number,
    free: () => void,
  ) {
    this.path = path;
    this.expected = expected;
    this.handle = handle;
    this.bytes = bytes;
    this.free = free;
  }

  /** Errors: `data_loss` past the size that it must have. */
  async append(chunk: Uint8Array): Promise<void> {
    const { name, bytes } = this.expected;
    if (this.bytes + chunk.length > bytes) {
      await this.forget();
      throw dataLoss(`${name}: more than the ${bytes} bytes that were announced; begun anew`);
    }
    await guarded(this.path, async () => {
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await this.handle.write(chunk, at, chunk.length - at);
        at += bytesWritten;
        this.bytes += bytesWritten;
      }
    });
  }

  /**
   * The whole, hashed and put into the store; the partial file is gone then. Errors: `data_loss` when it is not what
   * was announced, which is forgotten, so that whoever asks again begins anew.
   */
  async finish(blobs: Blobs): Promise<BlobDigest> {
    const { name, check } = this.expected;
    const found = await this.hash();
    if (check !== '' && found !== check) {
      await this.forget();
      throw dataLoss(`${name}: its bytes are ${found}, and ${check} was announced`, {
        details: { file: name },
      });
    }
    const { digest } = await blobs.put(createReadStream(this.path, { highWaterMark: PIECE_BYTES }));
    await unlink(this.path);
    return digest;
  }

  /** Drops what is there: it is not what it should be. */
  async forget(): Promise<void> {
    await this.handle.truncate(0);
    this.bytes = 0;
  }

  async close(): Promise<void> {
    this.free();
    await this.handle.close();
  }

  private async hash(): Promise<string> {
    const hash = hasherOf(this.expected);
    for await (const chunk of createReadStream(this.path, { highWaterMark: PIECE_BYTES })) {
      hash.sum.update(chunk as Buffer);
    }
    return `${hash.kind}:${hash.sum.digest('hex')}`;
  }
}

/** Git names a file by the SHA-1 of a header and its bytes; what large file storage keeps is named by SHA-256. */
function hasherOf({ check, bytes }: Expected): { readonly kind: string; readonly sum: Hash } {
  if (!check.startsWith('git:')) return { kind: 'sha256', sum: createHash('sha256') };
  return { kind: 'git', sum: createHash('sha1').update(`blob ${bytes}\0`) };
}
