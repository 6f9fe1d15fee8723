import { invalidArgument, type OperationError, resourceExhausted } from '@heddle/core';
import type { ModelConfig } from '../config/model-config.ts';
import { HOOK_PATTERN_CHARS_MAX, HOOK_PATTERNS_MAX } from '../limits.ts';
import { blockPoints } from './block-points.ts';
import { hookPoints, whyLacking } from './catalogue.ts';

/**
 * *Hook names from what a user wrote*: canonical names, aliases, and globs (`*` any run of characters, `?` one, `[2-5]` a set),
 * without repeats, in forward order. A glob takes what the model has; a plain name that it lacks is refused with the reason.
 * Errors: `invalid_argument` with `field` `hooks[i]`; `resource_exhausted` past the limits.
 */
export function resolveHooks(
  config: ModelConfig,
  patterns: readonly string[],
  field = 'hooks',
): readonly string[] {
  if (patterns.length > HOOK_PATTERNS_MAX) {
    throw resourceExhausted(`${field}: ${patterns.length} names; at most ${HOOK_PATTERNS_MAX}`, {
      field,
      retryable: false,
      details: { limit: HOOK_PATTERNS_MAX },
    });
  }
  const points = hookPoints(config);
  const byName = new Map<string, string>();
  for (const { name, aliases } of points) {
    for (const alias of aliases) byName.set(alias, name);
  }
  for (const { name } of points) byName.set(name, name);
  const wanted = new Set<string>();
  patterns.forEach((pattern, i) => {
    const names = match(config, byName, pattern, `${field}[${i}]`);
    for (const name of names) wanted.add(name);
  });
  return points.map(({ name }) => name).filter((name) => wanted.has(name));
}

function match(
  config: ModelConfig,
  byName: ReadonlyMap<string, string>,
  pattern: string,
  field: string,
): readonly string[] {
  const shown = JSON.stringify(pattern.slice(0, HOOK_PATTERN_CHARS_MAX));
  const refuse = (why: string): OperationError =>
    invalidArgument(`${field} ${shown}: ${why}`, { field });
  if (pattern.length > HOOK_PATTERN_CHARS_MAX) {
    throw refuse(`longer than ${HOOK_PATTERN_CHARS_MAX} characters`);
  }
  if (!/[*?[]/.test(pattern)) {
    const name = byName.get(pattern);
    if (name === undefined) throw refuse(whyLacking(config, pattern));
    return [name];
  }
  const glob = compileGlob(pattern);
  if (!glob) throw refuse('a set [ ] is not closed, or empty');
  const names = [...byName].filter(([alias]) => glob(alias)).map(([, name]) => name);
  if (names.length > 0) return names;
  const lacking = lackingNames(config).find(glob);
  if (lacking !== undefined) throw refuse(whyLacking(config, lacking));
  throw refuse(`matches no hook point of this ${config.family} model`);
}

/** Names that other families have, so that a glob which matches only those can say why it matches nothing. */
function lackingNames(config: ModelConfig): readonly string[] {
  const points = blockPoints(config).filter(({ lacking }) => lacking !== undefined);
  const layers = Array.from({ length: config.n_layers }, (_, layer) => layer);
  const names = layers.flatMap((layer) => points.map(({ name }) => `blocks.${layer}.${name}`));
  return config.positions.kind === 'rotary' ? ['hook_pos_embed', ...names] : names;
}

/**
 * A glob as a predicate, matched by the two-pointer method: time pattern × text at worst, where a regular expression made from
 * a hostile pattern would take for ever. Undefined when a set is malformed.
 */
function compileGlob(pattern: string): ((text: string) => boolean) | undefined {
  const tokens: ((c: string) => boolean)[] = [];
  const stars = new Set<number>();
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i] as string;
    if (c === '*') {
      stars.add(tokens.length);
      tokens.push(() => false);
    } else if (c === '?') tokens.push(() => true);
    else if (c === '[') {
      const end = pattern.indexOf(']', i + 1);
      if (end <= i + 1) return undefined;
      tokens.push(characterSet(pattern.slice(i + 1, end)));
      i = end;
    } else tokens.push((other) => other === c);
  }
  return (text) => matchTokens(tokens, stars, text);
}

function characterSet(spec: string): (c: string) => boolean {
  const ranges = [...spec.matchAll(/(.)-(.)|(.)/g)].map(([, from, to, one]) => [
    from ?? (one as string),
    to ?? (one as string),
  ]);
  return (c) => ranges.some(([from, to]) => c >= (from as string) && c <= (to as string));
}

function matchTokens(
  tokens: readonly ((c: string) => boolean)[],
  stars: ReadonlySet<number>,
  text: string,
): boolean {
  let [t, i, star, mark] = [0, 0, -1, 0];
  while (i < text.length) {
    if (stars.has(t)) {
      star = t++;
      mark = i;
    } else if (t < tokens.length && tokens[t]?.(text[i] as string)) {
      t++;
      i++;
    } else if (star >= 0) {
      t = star + 1;
      i = ++mark;
    } else return false;
  }
  while (stars.has(t)) t++;
  return t === tokens.length;
}
