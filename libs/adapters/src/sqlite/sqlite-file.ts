import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { dataLoss, failedPrecondition, OperationError, resourceExhausted } from '@heddle/core';
import type { Clock } from '@heddle/ports';
import { SQLITE_LIMITS } from './limits.ts';

export interface SqliteOptions {
  readonly clock: Clock;
  /** The whole file's budget; past it appends and pushes answer `resource_exhausted`. */
  readonly bytesMax?: number;
}

/** Version 1. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS events (
    stream INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL, time_ms INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (stream, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, key TEXT NOT NULL,
    bytes BLOB NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, lease INTEGER NOT NULL DEFAULT 0,
    working INTEGER NOT NULL DEFAULT 0, visible_ms INTEGER NOT NULL, UNIQUE (queue, key)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS messages_due ON messages (queue, visible_ms, id);
  CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, key TEXT NOT NULL,
    bytes BLOB NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS dead_queue ON dead (queue, id);
`;

/** What each version added to the schema before it. */
const STEPS: Readonly<Record<number, string>> = {
  2: `ALTER TABLE messages ADD COLUMN lane TEXT NOT NULL DEFAULT ''`,
};

/**
 * One connection to a database file: every commit is on disk when it returns (WAL, `synchronous=FULL`). Errors of
 * SQLite become ours here: `resource_exhausted` for a full disk or budget, `unavailable` for a lock that did not come
 * free, `data_loss` for a damaged file.
 */
export class SqliteFile {
  readonly clock: Clock;
  private readonly path: string;
  private readonly database: DatabaseSync;
  private readonly statements = new Map<string, StatementSync>();
  private readonly waiters = new Set<() => void>();

  constructor(path: string, { clock, bytesMax }: SqliteOptions) {
    this.path = path;
    this.clock = clock;
    this.database = this.guard(() => new DatabaseSync(path, { allowExtension: false }));
    try {
      this.guard(() => this.prepare(bytesMax));
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  /** All of `body` or nothing of it, on disk when this returns; wakes who waits for changes. */
  write<T>(body: () => T): T {
    const result = this.guard(() => {
      this.database.exec('BEGIN IMMEDIATE');
      try {
        const value = body();
        this.database.exec('COMMIT');
        return value;
      } catch (error) {
        if (this.database.isTransaction) this.database.exec('ROLLBACK');
        throw error;
      }
    });
    for (const wake of this.waiters) wake();
    return result;
  }

  read<T>(body: () => T): T {
    return this.guard(body);
  }

  sql(text: string): StatementSync {
    const known = this.statements.get(text);
    if (known !== undefined) return known;
    const statement = this.database.prepare(text);
    this.statements.set(text, statement);
    return statement;
  }

  /** Resolves at the next commit of this connection, and at the latest when another process may have made one. */
  async changed(waitMs: number, signal?: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort('changed');
    this.waiters.add(wake);
    signal?.addEventListener('abort', wake, { once: true });
    try {
      if (signal?.aborted) return;
      await this.clock.sleep(Math.min(waitMs, SQLITE_LIMITS.pollMs), woken.signal);
    } finally {
      this.waiters.delete(wake);
      signal?.removeEventListener('abort', wake);
    }
  }

  /** Bytes in use; freed pages do not count. */
  bytes(): number {
    return this.guard(() => {
      const of = (pragma: string): number =>
        Number(Object.values(this.sql(`PRAGMA ${pragma}`).get() ?? {})[0]);
      return (of('page_count') - of('freelist_count')) * of('page_size');
    });
  }

  /** Gives freed pages back to the disk. */
  shrink(): void {
    this.guard(() => this.database.exec('PRAGMA incremental_vacuum'));
  }

  close(): void {
    for (const wake of this.waiters) wake();
    if (this.database.isOpen) this.database.close();
  }

  private prepare(bytesMax: number | undefined): void {
    const { database } = this;
    database.exec(`PRAGMA busy_timeout = ${SQLITE_LIMITS.busyTimeoutMs}`);
    database.exec('PRAGMA auto_vacuum = INCREMENTAL'); // counts only before the first table
    database.exec('PRAGMA journal_mode = WAL');
    database.exec('PRAGMA synchronous = FULL');
    database.exec('PRAGMA foreign_keys = ON');
    const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    if (version > SQLITE_LIMITS.schemaVersion) {
      throw failedPrecondition(
        `${this.path} has schema version ${version}, this Heddle reads up to ${SQLITE_LIMITS.schemaVersion}: run the newer one`,
      );
    }
    if (version < SQLITE_LIMITS.schemaVersion) this.write(() => this.migrate());
    if (bytesMax === undefined) return;
    const size = Number(database.prepare('PRAGMA page_size').get()?.['page_size']);
    database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(bytesMax / size))}`);
  }

  /** To the present schema, in one transaction; whoever opens the file at the same moment finds it done. */
  private migrate(): void {
    const { database } = this;
    const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    if (found === 0) database.exec(SCHEMA);
    for (let next = Math.max(found, 1) + 1; next <= SQLITE_LIMITS.schemaVersion; next++) {
      database.exec(STEPS[next] ?? '');
    }
    database.exec(`PRAGMA user_version = ${SQLITE_LIMITS.schemaVersion}`);
  }

  private guard<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw sqliteError(error, this.path);
    }
  }
}

/** Result codes of sqlite.org/rescode.html, without their extended part. */
const CODES = {
  busy: 5,
  locked: 6,
  readonly: 8,
  io: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
};

function sqliteError(error: unknown, path: string): unknown {
  const { errcode } = error as { readonly errcode?: unknown };
  if (error instanceof OperationError || typeof errcode !== 'number') return error;
  const said = (error as Error).message;
  switch (errcode & 0xff) {
    case CODES.full:
      return resourceExhausted(
        `${path} cannot grow: ${said}; nothing was written. Free space (heddle gc) and try again`,
        { cause: error },
      );
    case CODES.busy:
    case CODES.locked:
    case CODES.io:
      return new OperationError({
        code: 'unavailable',
        message: `${path} cannot be used now: ${said}`,
        cause: error,
      });
    case CODES.corrupt:
    case CODES.notADatabase:
      return dataLoss(`${path} is damaged: ${said}`, { cause: error });
    case CODES.readonly:
    case CODES.cannotOpen:
      return failedPrecondition(`${path} cannot be written: ${said}`, { cause: error });
    default:
      return error;
  }
}
