import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { gzipSync } from 'node:zlib';

/** One event of a journal of then, on a line. */
export interface JournalLine {
  readonly stream: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** Base64. */
  readonly bytes: string;
}

/** The schema of the first landing, which read its own tables; a landing with another needs another question. */
const EVENTS = `
  SELECT streams.name AS stream, events.sequence, events.time_ms, events.bytes
  FROM events JOIN streams ON streams.id = events.stream ORDER BY streams.id, events.sequence`;

/**
 * The data directory that a killed process left in `folder`, as it is committed: its database file as it was, the same
 * journal as lines that any Journal can take in, its blobs, and where the folder was, because a model's name in the journal says so.
 */
export function exportData(folder: string, out: string): void {
  rmSync(join(out, 'blobs'), { recursive: true, force: true });
  cpSync(join(folder, 'data/blobs'), join(out, 'blobs'), { recursive: true });
  const copy = join(out, 'heddle.sqlite');
  for (const suffix of ['', '-wal']) {
    cpSync(join(folder, `data/heddle.sqlite${suffix}`), `${copy}${suffix}`);
  }
  const database = new DatabaseSync(copy);
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)'); // so that one file is all of it
  const lines = database.prepare(EVENTS).all() as unknown as {
    readonly stream: string;
    readonly sequence: number;
    readonly time_ms: number;
    readonly bytes: Uint8Array;
  }[];
  database.close();
  const text = lines.map(({ stream, sequence, time_ms: timeMs, bytes }) => {
    const line: JournalLine = {
      ...{ stream, sequence, timeMs },
      bytes: Buffer.from(bytes).toString('base64'),
    };
    return JSON.stringify(line);
  });
  writeFileSync(join(out, 'journal.jsonl'), `${text.join('\n')}\n`);
  writeFileSync(`${copy}.gz`, gzipSync(readFileSync(copy), { level: 9 }));
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${copy}${suffix}`, { force: true });
  writeFileSync(join(out, 'folder.txt'), `${folder}\n`);
}
