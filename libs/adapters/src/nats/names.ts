import { invalidArgument } from '@heddle/core';
import { NATS_LIMITS } from './limits.ts';

const escaped = (text: string): string =>
  [...Buffer.from(text)].map((byte) => `=${byte.toString(16).padStart(2, '0')}`).join('');

/** A name as subject tokens: dots between other characters stay, so that permissions can name a domain. */
export function subjectTokens(name: string): string {
  checkLength(name);
  return name.replace(/[^A-Za-z0-9_-]/gu, (char, at: number) => {
    const between = name[at - 1] !== '.' && name[at + 1] !== '.' && at > 0 && at < name.length - 1;
    return char === '.' && between ? char : escaped(char);
  });
}

/** A name as exactly one subject token. */
export function oneToken(name: string): string {
  checkLength(name);
  return name.replace(/[^A-Za-z0-9_-]/gu, escaped);
}

/** What `subjectTokens` and `oneToken` made, read back. */
export function nameOf(tokens: string): string {
  const bytes = tokens.replace(/=([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** A name as part of a stream's name, where dots may not stand: `tasks.lorsa.train` is `tasks_lorsa_train`. */
export function streamToken(name: string): string {
  checkLength(name);
  return name.replace(/[^A-Za-z0-9-]/gu, (char) => (char === '.' ? '_' : escaped(char)));
}

/** The stream of a queue: an autoscaler looks at it from outside. */
export function workStream(prefix: string, queue: string): string {
  return `${prefix.toUpperCase()}_WORK_${streamToken(queue)}`;
}

function checkLength(name: string): void {
  if (name.length > 0 && name.length <= NATS_LIMITS.nameCharsMax) return;
  throw invalidArgument(
    `a name of ${name.length} characters: 1 to ${NATS_LIMITS.nameCharsMax} can be part of a subject`,
  );
}
