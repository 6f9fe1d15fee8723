/** Thrown when our own code is wrong; never caught to continue: the actor falls and restarts from its journal. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** States what cannot be otherwise. Lazily worded, so that a hot path pays for the message only when it fails. */
export function assert(
  condition: unknown,
  message: string | (() => string) = 'invariant broken',
): asserts condition {
  if (condition) return;
  throw new AssertionError(typeof message === 'string' ? message : message());
}

/** The end of a switch over a closed union. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}

/** The value, where the type system cannot see that it is there (an index inside bounds, a key just set). */
export function present<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AssertionError(`${what} is missing`);
  return value;
}
