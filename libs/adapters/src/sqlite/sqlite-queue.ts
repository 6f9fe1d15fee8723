import { resourceExhausted } from '@heddle/core';
import type { DeadLetter, Delivery, PullOptions, PushOptions, WorkQueue } from '@heddle/ports';
import { SQLITE_LIMITS } from './limits.ts';
import { SqliteFile, type SqliteOptions } from './sqlite-file.ts';
import { checkMessage } from './sqlite-journal.ts';

export interface SqliteQueueOptions extends SqliteOptions {
  readonly messagesMax?: number;
  readonly deadLettersMax?: number;
  /**
   * No other process works at this file: whoever held messages when it is opened is dead, and they are handed out at
   * once instead of after their ack wait.
   */
  readonly soleOwner?: boolean;
}

interface MessageRow {
  readonly id: number;
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly attempt: number;
  readonly lease: number;
}

/**
 * The work queue in a file. A delivery is a row that is invisible until its deadline; its lease number rises with each
 * delivery and each nak, so that an older delivery can neither extend nor remove it.
 */
export class SqliteQueue implements WorkQueue {
  private readonly file: SqliteFile;
  private readonly messagesMax: number;
  private readonly deadLettersMax: number;

  constructor(path: string, options: SqliteQueueOptions) {
    this.file = new SqliteFile(path, options);
    this.messagesMax = options.messagesMax ?? SQLITE_LIMITS.queueMessagesMax;
    this.deadLettersMax = options.deadLettersMax ?? SQLITE_LIMITS.deadLettersMax;
    if (options.soleOwner === true) this.releaseAll();
  }

  async push(
    queue: string,
    key: string,
    bytes: Uint8Array,
    options: PushOptions = {},
  ): Promise<void> {
    checkMessage(bytes.length);
    const { file, messagesMax } = this;
    if (this.has(queue, key)) return; // the reconciler's usual case: no write for it
    file.write(() => {
      if (this.has(queue, key)) return;
      const row = file.sql('SELECT count(*) AS count FROM messages WHERE queue = ?').get(queue);
      if (Number(row?.['count']) >= messagesMax) {
        throw resourceExhausted(`queue ${queue} holds ${messagesMax} messages: try again later`, {
          retryAfterMs: SQLITE_LIMITS.queueFullRetryMs,
          details: { messagesMax },
        });
      }
      const visibleMs = Math.ceil(file.clock.now() + (options.delayMs ?? 0));
      file
        .sql('INSERT INTO messages (queue, key, bytes, visible_ms, lane) VALUES (?, ?, ?, ?, ?)')
        .run(queue, key, bytes, visibleMs, options.lane ?? '');
    });
  }

  async pull(queue: string, options: PullOptions): Promise<Delivery | undefined> {
    const { clock } = this.file;
    const untilMs = clock.monotonic() + options.waitMs;
    while (!options.signal?.aborted) {
      const dueMs = this.dueMs(queue);
      if (dueMs !== undefined && dueMs <= clock.now()) {
        const row = this.claim(queue, options);
        if (row !== undefined) return this.delivery(queue, row, options.ackWaitMs);
        continue; // another process was faster, or it went to the dead letters
      }
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0) return undefined;
      await this.file.changed(Math.min(leftMs, (dueMs ?? Infinity) - clock.now()), options.signal);
    }
    return undefined;
  }

  /** A queue is there when it is spoken of. */
  async prepare(): Promise<void> {}

  async keys(queue: string, lane: string): Promise<readonly string[]> {
    const { file } = this;
    return file.read(() => {
      const rows = file
        .sql('SELECT key FROM messages WHERE queue = ? AND lane = ?')
        .all(queue, lane);
      return rows.map(({ key }) => String(key));
    });
  }

  async depth(queue: string): Promise<{ readonly waiting: number; readonly working: number }> {
    const { file } = this;
    return file.read(() => {
      const row = file
        .sql(
          `SELECT count(*) AS count, coalesce(sum(working = 1 AND visible_ms > ?), 0) AS working
           FROM messages WHERE queue = ?`,
        )
        .get(file.clock.now(), queue);
      const working = Number(row?.['working']);
      return { waiting: Number(row?.['count']) - working, working };
    });
  }

  async deadLetters(queue: string, limit: number): Promise<readonly DeadLetter[]> {
    const { file } = this;
    return file.read(() => {
      const rows = file
        .sql('SELECT key, bytes, attempts, reason FROM dead WHERE queue = ? ORDER BY id LIMIT ?')
        .all(queue, limit) as unknown as readonly Omit<DeadLetter, 'queue'>[];
      return rows.map(({ key, bytes, attempts, reason }) => ({
        queue,
        key,
        bytes,
        attempts,
        reason,
      }));
    });
  }

  async deadLetterCounts(): Promise<ReadonlyMap<string, number>> {
    const { file } = this;
    return file.read(() => {
      const rows = file
        .sql('SELECT queue, count(*) AS count FROM dead GROUP BY queue')
        .all() as unknown as readonly { readonly queue: string; readonly count: number }[];
      return new Map(rows.map(({ queue, count }) => [queue, count]));
    });
  }

  async close(): Promise<void> {
    this.file.close();
  }

  private releaseAll(): void {
    const { file } = this;
    const text =
      'UPDATE messages SET visible_ms = ?, working = 0, lease = lease + 1 WHERE working = 1';
    file.write(() => file.sql(text).run(Math.ceil(file.clock.now())));
  }

  private has(queue: string, key: string): boolean {
    const { file } = this;
    const text = 'SELECT 1 FROM messages WHERE queue = ? AND key = ?';
    return file.read(() => file.sql(text).get(queue, key) !== undefined);
  }

  private dueMs(queue: string): number | undefined {
    const { file } = this;
    const text = 'SELECT visible_ms FROM messages WHERE queue = ? ORDER BY visible_ms LIMIT 1';
    return file.read(() => file.sql(text).get(queue)?.['visible_ms'] as number | undefined);
  }

  private claim(queue: string, { ackWaitMs, attemptsMax }: PullOptions): MessageRow | undefined {
    const { file } = this;
    return file.write(() => {
      const nowMs = file.clock.now();
      const row = file
        .sql(
          `SELECT id, key, bytes, attempt, lease FROM messages
           WHERE queue = ? AND visible_ms <= ? ORDER BY visible_ms, id LIMIT 1`,
        )
        .get(queue, nowMs) as unknown as MessageRow | undefined;
      if (row === undefined) return undefined;
      if (row.attempt >= attemptsMax) {
        this.bury(row.id, `delivered ${row.attempt} times and never acknowledged`);
        return undefined;
      }
      file
        .sql(
          'UPDATE messages SET attempt = attempt + 1, lease = lease + 1, working = 1, visible_ms = ? WHERE id = ?',
        )
        .run(Math.ceil(nowMs + ackWaitMs), row.id);
      return { ...row, attempt: row.attempt + 1, lease: row.lease + 1 };
    });
  }

  private delivery(queue: string, row: MessageRow, ackWaitMs: number): Delivery {
    const { file } = this;
    const { id, key, bytes, attempt, lease } = row;
    return {
      queue,
      key,
      bytes,
      attempt,
      heartbeat: async () => {
        const text = 'UPDATE messages SET visible_ms = ? WHERE id = ? AND lease = ?';
        const visibleMs = Math.ceil(file.clock.now() + ackWaitMs);
        return file.write(() => Number(file.sql(text).run(visibleMs, id, lease).changes) > 0);
      },
      ack: async () => {
        file.write(() =>
          file.sql('DELETE FROM messages WHERE id = ? AND lease = ?').run(id, lease),
        );
      },
      nak: async (delayMs) => {
        const text =
          'UPDATE messages SET visible_ms = ?, working = 0, lease = lease + 1 WHERE id = ? AND lease = ?';
        const visibleMs = Math.ceil(file.clock.now() + delayMs);
        file.write(() => file.sql(text).run(visibleMs, id, lease));
      },
      terminate: async (reason) => {
        file.write(() => {
          const text = 'SELECT 1 FROM messages WHERE id = ? AND lease = ?';
          if (file.sql(text).get(id, lease) !== undefined) this.bury(id, reason);
        });
      },
    };
  }

  /** To the dead letters; inside of a transaction. */
  private bury(id: number, reason: string): void {
    const { file } = this;
    file
      .sql(
        `INSERT INTO dead (queue, key, bytes, attempts, reason)
         SELECT queue, key, bytes, attempt, ? FROM messages WHERE id = ?`,
      )
      .run(reason, id);
    file
      .sql(
        `DELETE FROM dead WHERE queue = (SELECT queue FROM messages WHERE id = ?1) AND id <= (
           SELECT id FROM dead WHERE queue = (SELECT queue FROM messages WHERE id = ?1)
           ORDER BY id DESC LIMIT 1 OFFSET ?2)`,
      )
      .run(id, this.deadLettersMax);
    file.sql('DELETE FROM messages WHERE id = ?').run(id);
  }
}
