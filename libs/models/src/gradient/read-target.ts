import { invalidArgument, type OperationError } from '@heddle/core';
import { TARGET_CHARS_MAX, TARGET_TERMS_MAX } from '../limits.ts';

/** An index as it was written: a whole number (negative: from the end), or a token by its text or its id. */
export type WrittenIndex = number | { readonly text: string } | { readonly id: number };

/** `weight * name[index, …]`. */
export interface WrittenTerm {
  readonly weight: number;
  /** `logit`, `logprob`, or a hook point. */
  readonly name: string;
  readonly indices: readonly WrittenIndex[];
}

/** Sticky, so that each is tried where the reader stands. */
const SPACE = /\s*/y;
const SIGN = /[+-]/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?/y;
const TIMES = /\*/y;
const NAME = /[A-Za-z_][A-Za-z0-9_.]*/y;
const OPEN = /\[/y;
const CLOSE_OR_NEXT = /[\],]/y;
const ID = /id:(\d{1,15})/y;
const INTEGER = /[+-]?\d{1,15}/y;
/** Text between quotes of either kind; a backslash takes the next character along. */
const TEXT = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/suy;

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };

/**
 * *The scalar whose gradient is wanted, as written*: sums and differences of entries.
 *
 *   expression = ["+" | "-"] term {("+" | "-") term}
 *   term       = [number "*"] name "[" index {"," index} "]"
 *   index      = integer | "id:" integer | text in single or double quotes (`\"`, `\\`, `\n`, `\t`)
 *
 * `logit[-1, " Mary"] - logit[-1, " John"]`. Says nothing yet about what a model has: `resolveTarget` does.
 * Errors: `invalid_argument`, field `gradient`, with the character (`at`) and what was expected there.
 */
export function readTarget(expression: string): readonly WrittenTerm[] {
  if (expression.length > TARGET_CHARS_MAX) {
    throw wrong(`${expression.length} characters; at most ${TARGET_CHARS_MAX}`, 0);
  }
  const reader = new Reader(expression);
  const terms: WrittenTerm[] = [];
  let sign = reader.take(SIGN);
  do {
    terms.push(readTerm(reader, sign === '-' ? -1 : 1));
    if (terms.length > TARGET_TERMS_MAX) {
      throw wrong(`more than ${TARGET_TERMS_MAX} terms`, reader.at);
    }
    sign = reader.take(SIGN);
  } while (sign !== undefined);
  if (!reader.ended) throw reader.expected('+, - or the end');
  return terms;
}

function readTerm(reader: Reader, sign: number): WrittenTerm {
  const number = reader.take(NUMBER);
  const weight = sign * Number(number ?? 1);
  if (!Number.isFinite(Math.fround(weight))) throw wrong(`${number} is no f32 number`, reader.at);
  if (number !== undefined && reader.take(TIMES) === undefined) throw reader.expected('*');
  const name = reader.take(NAME);
  if (name === undefined) throw reader.expected('logit, logprob or a hook point');
  if (reader.take(OPEN) === undefined) throw reader.expected(`[ after ${name}`);
  const indices: WrittenIndex[] = [];
  do {
    indices.push(readIndex(reader));
    const after = reader.take(CLOSE_OR_NEXT);
    if (after === ']') return { weight, name, indices };
    if (after === undefined) throw reader.expected(', or ]');
  } while (indices.length < 8); // no hook point has as many axes
  throw reader.expected(']');
}

function readIndex(reader: Reader): WrittenIndex {
  const id = reader.take(ID);
  if (id !== undefined) return { id: Number(id.slice(3)) };
  const integer = reader.take(INTEGER);
  if (integer !== undefined) return Number(integer);
  const text = reader.take(TEXT);
  if (text === undefined) throw reader.expected('an index: a whole number, "text" or id:N');
  const inner = text.slice(1, -1);
  return { text: inner.replace(/\\(.)/gsu, (_, c: string) => ESCAPES[c] ?? c) };
}

class Reader {
  private readonly text: string;
  at = 0;

  constructor(text: string) {
    this.text = text;
    this.skipSpace();
  }

  get ended(): boolean {
    return this.at === this.text.length;
  }

  /** What matches here, which is then passed, with the space behind it; undefined when nothing does. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) return undefined;
    this.at += found.length;
    this.skipSpace();
    return found;
  }

  expected(what: string): OperationError {
    const rest = this.text.slice(this.at, this.at + 20);
    const found = this.ended ? 'the end' : JSON.stringify(rest);
    return wrong(`${what} expected at character ${this.at}, found ${found}`, this.at);
  }

  private skipSpace(): void {
    SPACE.lastIndex = this.at;
    this.at += SPACE.exec(this.text)?.[0].length ?? 0;
  }
}

function wrong(why: string, at: number): OperationError {
  return invalidArgument(`gradient: ${why}`, { field: 'gradient', details: { at } });
}
