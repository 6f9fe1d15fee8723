import { assert, OperationError, resourceExhausted } from '@heddle/core';
import type { Journal, JournalEvent } from '@heddle/ports';
import { SQLITE_LIMITS } from './limits.ts';
import { SqliteFile, type SqliteOptions } from './sqlite-file.ts';

interface StreamRow {
  readonly id: number;
  readonly last: number;
}

interface EventRow {
  readonly id: number;
  readonly sequence: number;
  readonly time_ms: number;
  readonly bytes: Uint8Array;
}

/** The journal in a file: the fence is a comparison inside of the writing transaction. */
export class SqliteJournal implements Journal {
  private readonly file: SqliteFile;

  constructor(path: string, options: SqliteOptions) {
    this.file = new SqliteFile(path, options);
  }

  async append(
    stream: string,
    expected: number,
    events: readonly Uint8Array[],
    life?: number,
  ): Promise<number> {
    assert(events.length > 0, 'an append of no events');
    for (const { length } of events) checkMessage(length);
    const { file } = this;
    return file.write(() => {
      const row = this.row(stream);
      const last = row?.last ?? 0;
      const another = expected > 0 && life !== undefined && life !== row?.id;
      if (last !== expected || another) throw conflict(stream, expected, last);
      const id =
        row?.id ??
        Number(
          file.sql('INSERT INTO streams (name, last) VALUES (?, 0)').run(stream).lastInsertRowid,
        );
      const insert = file.sql(
        'INSERT INTO events (stream, sequence, time_ms, bytes) VALUES (?, ?, ?, ?)',
      );
      const nowMs = Math.floor(file.clock.now());
      for (const [i, bytes] of events.entries()) insert.run(id, last + 1 + i, nowMs, bytes);
      file.sql('UPDATE streams SET last = ? WHERE id = ?').run(last + events.length, id);
      return last + events.length;
    });
  }

  async read(stream: string, after = 0): Promise<readonly JournalEvent[]> {
    const events = this.page(stream, after, -1);
    if (events.length === 0 && after > 0) {
      const last = this.file.read(() => this.row(stream)?.last ?? 0);
      if (last < after) throw gone(stream, after, last);
    }
    return events;
  }

  async *follow(stream: string, after: number, signal: AbortSignal): AsyncGenerator<JournalEvent> {
    let last = after;
    while (!signal.aborted) {
      const page = this.page(stream, last, SQLITE_LIMITS.followPage);
      for (const event of page) {
        yield event;
        last = event.sequence;
        if (signal.aborted) return;
      }
      if (page.length === 0) await this.file.changed(SQLITE_LIMITS.pollMs, signal);
    }
  }

  async streams(prefix: string, limit: number, after?: string): Promise<readonly string[]> {
    const { file } = this;
    return file.read(() => {
      const from = after === undefined ? 0 : (this.row(after)?.id ?? 0);
      const rows = file
        .sql(
          'SELECT name FROM streams WHERE id > ? AND substr(name, 1, length(?2)) = ?2 ORDER BY id LIMIT ?3',
        )
        .all(from, prefix, limit);
      return rows.map(({ name }) => String(name));
    });
  }

  async ends(prefix: string): Promise<ReadonlyMap<string, number>> {
    const { file } = this;
    return file.read(() => {
      const rows = file
        .sql('SELECT name, last FROM streams WHERE substr(name, 1, length(?1)) = ?1 ORDER BY id')
        .all(prefix);
      return new Map(rows.map(({ name, last }) => [String(name), Number(last)]));
    });
  }

  async remove(stream: string, condition?: (last: JournalEvent) => boolean): Promise<void> {
    const { file } = this;
    file.write(() => {
      if (condition !== undefined) {
        const [last] = this.page(stream, (this.row(stream)?.last ?? 0) - 1, 1);
        if (last === undefined || !condition(last)) return;
      }
      file.sql('DELETE FROM streams WHERE name = ?').run(stream);
    });
    file.shrink();
  }

  async bytes(): Promise<number> {
    return this.file.bytes();
  }

  async close(): Promise<void> {
    this.file.close();
  }

  private page(stream: string, after: number, limit: number): readonly JournalEvent[] {
    const { file } = this;
    return file.read(() => {
      const rows = file
        .sql(
          `SELECT s.id, e.sequence, e.time_ms, e.bytes FROM events e JOIN streams s ON s.id = e.stream
           WHERE s.name = ? AND e.sequence > ? ORDER BY e.sequence LIMIT ?`,
        )
        .all(stream, after, limit) as unknown as readonly EventRow[];
      return rows.map(({ id, sequence, time_ms, bytes }) => ({
        stream,
        sequence,
        life: id,
        timeMs: time_ms,
        bytes,
      }));
    });
  }

  private row(stream: string): StreamRow | undefined {
    return this.file.sql('SELECT id, last FROM streams WHERE name = ?').get(stream) as unknown as
      | StreamRow
      | undefined;
  }
}

export function checkMessage(bytes: number): void {
  if (bytes <= SQLITE_LIMITS.messageBytesMax) return;
  throw resourceExhausted(
    `a message of ${bytes} bytes is too large, at most ${SQLITE_LIMITS.messageBytesMax}: bulk belongs in a blob`,
    { retryable: false, details: { bytes, bytesMax: SQLITE_LIMITS.messageBytesMax } },
  );
}

function gone(stream: string, after: number, last: number): OperationError {
  return new OperationError({
    code: 'aborted',
    message: `${stream} ends at ${last}, before ${after}: it was removed; fold it from the beginning`,
    details: { after, last },
  });
}

function conflict(stream: string, expected: number, last: number): OperationError {
  return new OperationError({
    code: 'aborted',
    message: `${stream} ends at ${last}, not at ${expected}: fold again and decide again`,
    details: { expected, last },
  });
}
