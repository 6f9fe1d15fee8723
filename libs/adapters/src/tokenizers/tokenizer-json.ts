import { failedPrecondition, invalidArgument } from '@heddle/core';
import { NESTING_MAX, VOCABULARY_MAX } from './limits.ts';

type Fields = Readonly<Record<string, unknown>>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const malformed = (what: string): Error =>
  invalidArgument(`tokenizer.json: ${what}`, { field: 'tokenizer.json' });

/** GPT-2's splitting, as the Rust library compiles it. */
const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const isolate = (Regex: string): Fields => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
});

/**
 * The same tokenizer in words that the JavaScript library understands as the Rust one does. It compiles the patterns of `Split`
 * with Rust's character classes but writes its own with JavaScript's, where `\s` lacks U+0085 and has U+FEFF, and `\d` is
 * ASCII; so `ByteLevel` and `Digits` are spelt as `Split`. What it would silently do otherwise is refused.
 * Errors: `invalid_argument` for what no tokenizer.json can hold, `failed_precondition` for what we do not honour.
 */
export function readTokenizerJson(text: string): Fields {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (thrown) {
    throw malformed(`is not JSON (${thrown instanceof Error ? thrown.message : thrown})`);
  }
  if (!isFields(parsed)) throw malformed('is not an object');
  checkParts(parsed);
  checkModel(parsed['model']);
  const added = parsed['added_tokens'] ?? [];
  checkAddedTokens(added);
  checkPostProcessor(parsed['post_processor'] ?? null, 0);
  return {
    ...parsed,
    added_tokens: added,
    normalizer: parsed['normalizer'] ?? null,
    pre_tokenizer: respell(parsed['pre_tokenizer'] ?? null, 0),
    post_processor: parsed['post_processor'] ?? null,
    decoder: parsed['decoder'] ?? null,
  };
}

/**
 * Level by level, for printing a value is recursive and a deep one would end the stack; and of a `Replace` without a pattern the
 * library only prints a warning and leaves it out.
 */
function checkParts(json: Fields): void {
  let level: readonly object[] = [json];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > NESTING_MAX) throw malformed(`nests deeper than ${NESTING_MAX} levels`);
    for (const part of level) {
      if (isFields(part) && part['type'] === 'Replace') checkPattern(part['pattern'], 'Replace');
    }
    level = level.flatMap((part) => Object.values(part).filter(isNested));
  }
}

const isNested = (value: unknown): value is object => typeof value === 'object' && value !== null;

function checkPattern(pattern: unknown, owner: string): void {
  if (isFields(pattern) && typeof (pattern['Regex'] ?? pattern['String']) === 'string') return;
  throw malformed(`${owner} has no pattern`);
}

function checkModel(model: unknown): void {
  if (!isFields(model)) throw malformed('model is not an object');
  const { type, vocab } = model;
  if (type !== undefined && type !== 'BPE' && type !== 'WordPiece' && type !== 'Unigram') {
    throw failedPrecondition(`tokenizer.json: model ${JSON.stringify(type)} is not supported`);
  }
  if (Array.isArray(vocab)) {
    if (vocab.length > VOCABULARY_MAX) throw malformed(`more than ${VOCABULARY_MAX} tokens`);
    const pair = (entry: unknown): boolean =>
      Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'number';
    if (!vocab.every(pair)) throw malformed('model.vocab has an entry that is not [token, score]');
    return;
  }
  if (!isFields(vocab)) throw malformed('model.vocab is missing');
  const seen = new Set<number>();
  for (const [token, id] of Object.entries(vocab)) {
    checkId(id, token);
    if (seen.has(id)) throw malformed(`id ${id} is given twice in model.vocab`);
    seen.add(id);
  }
  if (type === 'BPE') checkMerges(model['merges'], vocab);
}

function checkMerges(merges: unknown, vocab: Fields): void {
  if (!Array.isArray(merges)) throw malformed('model.merges is missing');
  merges.forEach((merge: unknown, i) => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    const pair = Array.isArray(parts) && parts.length === 2;
    if (!pair || typeof parts[0] !== 'string' || typeof parts[1] !== 'string') {
      throw malformed(`model.merges[${i}] is not a pair`);
    }
    for (const token of [parts[0], parts[1], parts[0] + parts[1]]) {
      if (!Object.hasOwn(vocab, token)) {
        throw malformed(
          `model.merges[${i}] needs token ${JSON.stringify(token)}, not in the vocabulary`,
        );
      }
    }
  });
}

function checkAddedTokens(added: unknown): void {
  if (!Array.isArray(added)) throw malformed('added_tokens is not a list');
  for (const token of added) {
    if (!isFields(token) || typeof token['content'] !== 'string' || token['content'] === '') {
      throw malformed('added_tokens has an entry without content');
    }
    checkId(token['id'], token['content']);
  }
}

/** The library reads a template only when a text is encoded; here it is refused when the file is opened. */
function checkPostProcessor(part: unknown, depth: number): void {
  if (part === null) return;
  if (!isFields(part)) throw malformed('post_processor is not an object');
  if (depth > NESTING_MAX) throw malformed(`post_processor nests deeper than ${NESTING_MAX}`);
  if (part['type'] === 'Sequence') {
    const parts = part['processors'];
    if (!Array.isArray(parts)) throw malformed('post_processor.processors is not a list');
    for (const inner of parts) checkPostProcessor(inner, depth + 1);
  }
  if (part['type'] !== 'TemplateProcessing') return;
  for (const name of ['single', 'pair']) {
    const pieces = part[name];
    const piece = (one: unknown): boolean =>
      isFields(one) && ['SpecialToken', 'Sequence'].some((kind) => isFields(one[kind]));
    if (!Array.isArray(pieces) || !pieces.every(piece)) {
      throw malformed(`post_processor.${name} is not a list of SpecialToken and Sequence`);
    }
  }
}

function checkId(id: unknown, token: string): asserts id is number {
  const fits = typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < VOCABULARY_MAX;
  if (!fits) throw malformed(`token ${JSON.stringify(token.slice(0, 80))} has id ${String(id)}`);
}

function respell(part: unknown, depth: number): Fields | null {
  if (part === null) return null;
  if (!isFields(part)) throw malformed('pre_tokenizer is not an object');
  if (depth > NESTING_MAX) throw malformed(`pre_tokenizer nests deeper than ${NESTING_MAX}`);
  switch (part['type']) {
    case 'Sequence': {
      const parts = part['pretokenizers'];
      if (!Array.isArray(parts)) throw malformed('pre_tokenizer.pretokenizers is not a list');
      return { ...part, pretokenizers: parts.map((inner) => respell(inner, depth + 1)) };
    }
    case 'ByteLevel':
      return byteLevel(part);
    case 'Digits':
      return isolate(part['individual_digits'] === true ? '\\p{N}' : '\\p{N}+');
    case 'Split':
      return split(part);
    default:
      return part;
  }
}

/** The prefix space comes before the split, so with one the two cannot be taken apart and the library's own pattern stays. */
function byteLevel(part: Fields): Fields {
  if (part['use_regex'] === false || part['add_prefix_space'] === true) return part;
  const bytes = { ...part, use_regex: false };
  return { type: 'Sequence', pretokenizers: [isolate(GPT2_PATTERN), bytes] };
}

function split(part: Fields): Fields {
  const { behavior, pattern } = part;
  checkPattern(pattern, 'pre_tokenizer Split');
  // Isolated keeps what matches and what lies between, so inverting it changes nothing.
  if (behavior === 'Isolated') return { ...part, invert: false };
  if (behavior === 'Removed') return part;
  throw failedPrecondition(
    `tokenizer.json: Split with behavior ${JSON.stringify(behavior)} is not supported`,
  );
}
