import { HEADER_DEPTH_MAX } from '../limits.ts';

/** What a safetensors header may hold: objects, lists, strings, whole numbers ≥ 0. */
export type HeaderJson = string | number | readonly HeaderJson[] | HeaderObject;
export type HeaderObject = ReadonlyMap<string, HeaderJson>;

/** Why the text is no header; the caller adds the file's name. */
export class HeaderSyntaxError extends Error {
  override readonly name = 'HeaderSyntaxError';
}

const SPACE = new Set([' ', '\t', '\n', '\r']);
const WHOLE = /(?:0|[1-9][0-9]*)/y;
const NUMBER_LIKE = /[-+.eE0-9]/;
/**
 * A recursive-descent parser of the little JSON that a header is. Two readers that keep different ones of two equal keys
 * see different files: hence a parser that refuses them, which JSON.parse does not; and fractions, and deep nesting.
 */
export class HeaderParser {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  /** The whole text as one object; only spaces may follow it. */
  parse(): HeaderObject {
    if (this.text[0] !== '{') throw new HeaderSyntaxError('the header does not begin with {');
    const value = this.object(1);
    this.skipSpace();
    if (this.at < this.text.length) this.fail('text after the end of the object');
    return value;
  }

  private value(depth: number): HeaderJson {
    const c = this.text[this.at];
    if (c === '{') return this.object(depth + 1);
    if (c === '[') return this.list(depth + 1);
    if (c === '"') return this.string();
    return this.wholeNumber();
  }

  private object(depth: number): HeaderObject {
    this.enter(depth);
    const members = new Map<string, HeaderJson>();
    this.skipSpace();
    if (this.take('}')) return members;
    for (;;) {
      this.skipSpace();
      const key = this.string();
      if (members.has(key)) this.fail(`the key ${JSON.stringify(key)} stands twice`);
      this.skipSpace();
      if (!this.take(':')) this.fail('":" expected');
      this.skipSpace();
      members.set(key, this.value(depth));
      this.skipSpace();
      if (this.take('}')) return members;
      if (!this.take(',')) this.fail('"," or "}" expected');
    }
  }

  private list(depth: number): readonly HeaderJson[] {
    this.enter(depth);
    const items: HeaderJson[] = [];
    this.skipSpace();
    if (this.take(']')) return items;
    for (;;) {
      this.skipSpace();
      items.push(this.value(depth));
      this.skipSpace();
      if (this.take(']')) return items;
      if (!this.take(',')) this.fail('"," or "]" expected');
    }
  }

  private string(): string {
    if (this.text[this.at] !== '"') this.fail('a string expected');
    let end = this.at + 1;
    // A regular expression would need a backtracking stack as long as the string.
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === '\\' ? 2 : 1;
    let value: string;
    try {
      value = JSON.parse(this.text.slice(this.at, end + 1)) as string;
    } catch {
      this.fail('a string expected');
    }
    if (!value.isWellFormed()) this.fail('a string with half a surrogate pair');
    this.at = end + 1;
    return value;
  }

  private wholeNumber(): number {
    const raw = this.match(WHOLE);
    if (raw === undefined || NUMBER_LIKE.test(this.text[this.at] ?? '')) {
      this.fail('an object, a list, a string or a whole number expected');
    }
    const value = Number(raw);
    if (!Number.isSafeInteger(value)) this.fail(`the number ${raw} is past 2^53`);
    return value;
  }

  private enter(depth: number): void {
    if (depth > HEADER_DEPTH_MAX) this.fail(`nested deeper than ${HEADER_DEPTH_MAX}`);
    this.at++;
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) return undefined;
    this.at += found[0].length;
    return found[0];
  }

  private take(c: string): boolean {
    if (this.text[this.at] !== c) return false;
    this.at++;
    return true;
  }

  private skipSpace(): void {
    while (SPACE.has(this.text[this.at] ?? '')) this.at++;
  }

  private fail(why: string): never {
    throw new HeaderSyntaxError(`${why}, at character ${this.at} of the header`);
  }
}
