/** How tokens are shown to people: white space that can be seen, width in columns, and shades. */

/** Control characters as pictures of one column, so that a token never breaks a line. */
const PICTURES: Readonly<Record<string, string>> = { '\n': '⏎', '\t': '⇥', '\r': '␍' };

/** Within running text: spaces as they are, everything that would break the line as a picture. */
export function tokenInText(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => PICTURES[control] ?? '␦');
}

/** Alone in a list, where a space before or after would be lost. */
export function tokenAlone(text: string): string {
  return text === '' ? '∅' : tokenInText(text).replaceAll(' ', '␣');
}

/** Columns that a text takes on a terminal: wide scripts and emoji two, combining marks none. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) {
    if (/\p{Mn}|\p{Me}|\p{Cf}/u.test(character)) continue;
    columns += isWide(character.codePointAt(0) ?? 0) ? 2 : 1;
  }
  return columns;
}

function isWide(code: number): boolean {
  return (
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0x1f300 && code <= 0x1faff)
  );
}

/** At most so many columns; what is cut off is an ellipsis. */
export function cutTo(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let cut = '';
  for (const character of text) {
    if (columnsOf(cut + character) > columns - 1) break;
    cut += character;
  }
  return `${cut}…`;
}

/** One token of a context: the share of the activation that it gives (below 0: it takes), and whether it is the query. */
export interface ShadedToken {
  readonly text: string;
  readonly share: number;
  readonly query: boolean;
}

/** How a token is painted: on a terminal by its background, elsewhere by marks. */
export interface Painter {
  paint(token: ShadedToken): string;
  /** Columns that `paint` takes. */
  columns(token: ShadedToken): number;
  /** A heading, or a number that stands out. */
  strong(text: string): string;
  /** Beside the point. */
  faint(text: string): string;
}

/** Shares below this are not worth a mark: a twentieth of the activation. */
export const MARK_MIN = 0.05;

/** `[ token|0.42]`, the query between « and ». */
export const MARKS: Painter = {
  paint: marked,
  columns: (token) => columnsOf(marked(token)),
  strong: (text) => text,
  faint: (text) => text,
};

function marked({ text, share, query }: ShadedToken): string {
  const shown = tokenInText(text);
  const inner = Math.abs(share) < MARK_MIN ? shown : `[${shown}|${share.toFixed(2)}]`;
  return query ? `«${inner}»` : inner;
}

/** Backgrounds of the 256-colour palette, faint to strong, all readable under black. */
const GIVES = [230, 229, 222, 215, 208] as const;
const TAKES = [195, 159, 117, 75, 69] as const;

/** Black on a shade for where the activation comes from (warm: gives, cold: takes), the query bold and underlined. */
export const SHADES: Painter = {
  paint(token) {
    const shown = tokenInText(token.text);
    const codes = [...shadeOf(token.share), ...(token.query ? ['1', '4'] : [])];
    return codes.length === 0 ? shown : `\u001b[${codes.join(';')}m${shown}\u001b[0m`;
  },
  columns: ({ text }) => columnsOf(tokenInText(text)),
  strong: (text) => `\u001b[1m${text}\u001b[0m`,
  faint: (text) => `\u001b[2m${text}\u001b[0m`,
};

function shadeOf(share: number): readonly string[] {
  const size = Math.min(1, Math.abs(share));
  if (size < MARK_MIN / 2) return [];
  const ramp = share > 0 ? GIVES : TAKES;
  const level = Math.min(ramp.length - 1, Math.floor(Math.sqrt(size) * ramp.length));
  return ['38', '5', '16', '48', '5', String(ramp[level])];
}
