/** How what is answered today is held against what was answered then. */
import { isNumbers, type Numbers } from './answers.ts';

/** Of the largest number of a tensor, or of the number itself: another order of sums, not other mathematics. */
const TOLERANCE = 1e-6;
/** What is sent in half precision can fall on the other side of a half's last bit. */
const TOLERANCE_HALVES = 2 ** -10;

/**
 * By the name of a field: what is another each time, or says by which build, where and when. Only that it is there is
 * compared. How often a piece was begun anew, and so where a journal ends, depends on the machine. Texts for people (`message`)
 * may be worded better; digests are those of bytes whose numbers are compared.
 */
const VOLATILE: ReadonlySet<string> = new Set([
  ...[
    'created_ms',
    'updated_ms',
    'ended_ms',
    'imported_ms',
    'run_ms',
    'seconds',
    'seconds_per_step',
  ],
  ...['versions', 'server_version', 'message', 'path', 'digest', 'bytes', 'sequence', 'retries'],
]);

/**
 * Where `now` says something else than `then`, or lacks what `then` has; what is new is no difference. Entries of a list
 * that have an id or a name are the same entry by it, wherever it stands.
 */
export function differences(then: unknown, now: unknown, at = ''): readonly string[] {
  const name = at.slice(at.lastIndexOf('.') + 1);
  if (VOLATILE.has(name)) return now === undefined ? [`${at} is gone`] : [];
  if (isNumbers(then)) return isNumbers(now) ? tensorDifferences(then, now, at) : [`${at} is gone`];
  if (typeof then === 'number' && typeof now === 'number') {
    return close(then, now, TOLERANCE * Math.max(1, Math.abs(then)))
      ? []
      : [`${at}: ${then} is ${now}`];
  }
  if (typeof then === 'string' && typeof now === 'string' && name.endsWith('_json')) {
    return then === now ? [] : differences(JSON.parse(then), JSON.parse(now), `${at}:`);
  }
  if (Array.isArray(then)) {
    return Array.isArray(now) ? listDifferences(then, now, at) : [`${at}: the list is gone`];
  }
  if (typeof then === 'object' && then !== null) {
    if (typeof now !== 'object' || now === null) return [`${at} is gone`];
    return Object.entries(then).flatMap(([key, each]) =>
      differences(each, (now as Record<string, unknown>)[key], at === '' ? key : `${at}.${key}`),
    );
  }
  return then === now ? [] : [`${at}: ${JSON.stringify(then)} is ${JSON.stringify(now)}`];
}

const close = (a: number, b: number, allowed: number): boolean =>
  Object.is(a, b) || Math.abs(a - b) <= allowed;

function tensorDifferences(then: Numbers, now: Numbers, at: string): readonly string[] {
  const [a, b] = [Array.from(then.numbers), Array.from(now.numbers)];
  if (a.length !== b.length) return [`${at}: ${a.length} numbers are ${b.length}`];
  const largest = a.reduce((most, each) => Math.max(most, Math.abs(each)), 1);
  const allowed = largest * (then.halves ? TOLERANCE_HALVES : TOLERANCE);
  const wrong = a.findIndex((each, i) => !close(each, b[i] ?? Number.NaN, allowed));
  return wrong < 0 ? [] : [`${at}[${wrong}]: ${a[wrong]} is ${b[wrong]}`];
}

function listDifferences(
  then: readonly unknown[],
  now: readonly unknown[],
  at: string,
): readonly string[] {
  const named = then.length > 0 && then.every((each) => keyOf(each) !== undefined);
  if (!named && then.length !== now.length) {
    return [`${at}: ${then.length} entries are ${now.length}`];
  }
  return then.flatMap((each, i) => {
    const key = keyOf(each);
    const other = named ? now.find((one) => keyOf(one) === key) : now[i];
    return differences(each, other, named ? `${at}[${key}]` : `${at}[${i}]`);
  });
}

/** What entries of lists are known by: jobs by their id, models, artifacts and hooks by their name. */
function keyOf(entry: unknown): string | undefined {
  const { id, name } = (entry ?? {}) as { readonly id?: unknown; readonly name?: unknown };
  const key = typeof id === 'string' && id !== '' ? id : name;
  return typeof key === 'string' && key !== '' ? key : undefined;
}
