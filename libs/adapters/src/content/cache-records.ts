import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { readdir, readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { guarded } from '../fs/file-error.ts';

/** A file as it was when its bytes were hashed. */
export interface CheckedFile {
  readonly name: string;
  readonly bytes: number;
  readonly digest: string;
  readonly modifiedMs: number;
}

/** What says that a content is there: written last, removed first. Its own time is when the content was last asked for. */
export interface CacheRecord {
  readonly files: readonly CheckedFile[];
}

export interface KnownRecord {
  readonly hex: string;
  readonly usedMs: number;
}

const NAME = /^([0-9a-f]{64})\.json$/;

export class CacheRecords {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
  }

  /** Undefined where there is none, or none that can be read. */
  async read(hex: string): Promise<CacheRecord | undefined> {
    try {
      const record = JSON.parse(await readFile(this.path(hex), 'utf8')) as CacheRecord;
      return Array.isArray(record.files) ? record : undefined;
    } catch {
      return undefined;
    }
  }

  async write(hex: string, record: CacheRecord): Promise<void> {
    const temporary = join(this.directory, randomUUID());
    await guarded(temporary, async () => {
      await writeFile(temporary, JSON.stringify(record));
      await rename(temporary, this.path(hex));
    });
  }

  async touch(hex: string): Promise<void> {
    const now = new Date();
    await utimes(this.path(hex), now, now).catch(() => undefined);
  }

  async remove(hex: string): Promise<void> {
    await unlink(this.path(hex)).catch(() => undefined);
  }

  /** The longest unused first. */
  async list(): Promise<readonly KnownRecord[]> {
    const known: KnownRecord[] = [];
    for (const name of await readdir(this.directory)) {
      const hex = NAME.exec(name)?.[1];
      const found = hex && (await stat(join(this.directory, name)).catch(() => undefined));
      if (hex && found) known.push({ hex, usedMs: found.mtimeMs });
    }
    return known.sort((a, b) => a.usedMs - b.usedMs);
  }

  private path(hex: string): string {
    return join(this.directory, `${hex}.json`);
  }
}
