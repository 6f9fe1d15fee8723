import { isAnswering } from '@heddle/adapters/grpc';
import { OperationError } from '@heddle/core';
import type { Journal } from '@heddle/ports';

/** When to ask again: about the time between two looks at whether it is back. */
const AGAIN_MS = 5_000;

/**
 * A journal that is known to be away says so at once, in place of waiting for it with each of many callers. Only an append of
 * work that nobody waits for is tried as long as ever: it may be an hour's checkpoint.
 */
export function promptJournal(journal: Journal, isAway: () => boolean): Journal {
  const here = async <T>(body: () => Promise<T>): Promise<T> => {
    if (isAway()) throw away();
    return body();
  };
  const answered = <T>(body: () => Promise<T>): Promise<T> => (isAnswering() ? here(body) : body());
  return {
    append: (...asked) => answered(() => journal.append(...asked)),
    remove: (...asked) => answered(() => journal.remove(...asked)),
    read: (...asked) => here(() => journal.read(...asked)),
    streams: (...asked) => here(() => journal.streams(...asked)),
    ends: (prefix) => here(() => journal.ends(prefix)),
    bytes: () => here(() => journal.bytes()),
    follow: (...asked) => journal.follow(...asked),
    close: () => journal.close(),
  };
}

function away(): OperationError {
  return new OperationError({
    code: 'unavailable',
    message: `the journal is away: NATS does not answer; ask again in ${AGAIN_MS / 1000} s`,
    details: { store: 'journal' },
    retryAfterMs: AGAIN_MS,
  });
}
