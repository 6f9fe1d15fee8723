import type { SqliteOptions } from './sqlite-file.ts';
import { SqliteJournal } from './sqlite-journal.ts';
import { SqliteQueue, type SqliteQueueOptions } from './sqlite-queue.ts';

export type { SqliteOptions } from './sqlite-file.ts';
export { SqliteJournal } from './sqlite-journal.ts';
export { SqliteQueue, type SqliteQueueOptions } from './sqlite-queue.ts';

/** Journal and queue in one file, each with its own connection: they share no transaction. */
export function openSqlite(
  path: string,
  options: SqliteOptions & SqliteQueueOptions,
): { readonly journal: SqliteJournal; readonly queue: SqliteQueue; close(): Promise<void> } {
  const journal = new SqliteJournal(path, options);
  const queue = new SqliteQueue(path, options);
  const close = async (): Promise<void> => {
    await queue.close();
    await journal.close();
  };
  return { journal, queue, close };
}
