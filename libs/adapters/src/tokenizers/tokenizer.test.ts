import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import fc from 'fast-check';
import { createTokenizer } from './index.ts';
import { VOCABULARY_MAX } from './limits.ts';

/** Bytes a–e, one merge, a BOS added token; small enough to see. */
const tiny = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  version: '1.0',
  added_tokens: [{ id: 7, content: '<s>', special: true, normalized: false }],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    vocab: { a: 0, b: 1, c: 2, Ġ: 3, ab: 4, Ã: 5, '©': 6 },
    merges: [['a', 'b']],
    ...(changes['model'] as object | undefined),
  },
  ...Object.fromEntries(Object.entries(changes).filter(([key]) => key !== 'model')),
});

const build = (changes?: Record<string, unknown>) =>
  createTokenizer({ tokenizer: JSON.stringify(tiny(changes)) });

const refuses = (call: () => unknown, code: string, words: RegExp): void => {
  assert.throws(call, (error: OperationError) => {
    assert.equal(error.code, code);
    assert.match(error.message, words);
    return true;
  });
};

test('a token reads as it stands in text, its leading space included', () => {
  const tokenizer = build();

  assert.equal(tokenizer.token(3), ' ');
  assert.equal(tokenizer.token(4), 'ab');
  assert.equal(tokenizer.token(7), '<s>');
});

test('a token that is part of a character reads as the vocabulary spells it', () => {
  assert.equal(build().token(5), 'Ã');
});

test('the BOS token comes from tokenizer_config.json, in either spelling, and else from config.json', () => {
  const tokenizer = JSON.stringify(tiny());
  const config = JSON.stringify({ bos_token_id: 2, eos_token_id: [1, 2] });

  const named = createTokenizer({ tokenizer, tokenizerConfig: '{"bos_token": "<s>"}', config });
  const spelt = createTokenizer({
    tokenizer,
    tokenizerConfig: '{"bos_token": {"content": "<s>"}}',
  });
  const listed = createTokenizer({ tokenizer, config });

  assert.deepEqual([named.bosId, named.eosId], [7, 1]);
  assert.deepEqual([spelt.bosId, spelt.eosId], [7, undefined]);
  assert.deepEqual([listed.bosId, listed.eosId], [2, 1]);
});

test('a file that no tokenizer.json can be is refused with what is wrong', () => {
  refuses(() => createTokenizer({ tokenizer: '{"model"' }), 'invalid_argument', /is not JSON/);
  refuses(() => createTokenizer({ tokenizer: '[]' }), 'invalid_argument', /is not an object/);
  refuses(() => createTokenizer({ tokenizer: '{}' }), 'invalid_argument', /model is not an object/);
  refuses(
    () => build({ model: { vocab: { a: 0, b: 0 } } }),
    'invalid_argument',
    /id 0 is given twice/,
  );
  refuses(() => build({ model: { merges: [['a', 'x']] } }), 'invalid_argument', /needs token "x"/);
  refuses(() => build({ model: { merges: ['a b c'] } }), 'invalid_argument', /not a pair/);
  refuses(() => build({ decoder: { type: 'Nothing' } }), 'invalid_argument', /Nothing/);
});

test('an id beyond the largest vocabulary is refused before it indexes an array', () => {
  const vocab = { a: 0, b: 1, ab: VOCABULARY_MAX };

  refuses(() => build({ model: { vocab } }), 'invalid_argument', /has id 1048576/);
});

test('a way of splitting that the library would get wrong is refused', () => {
  const pre_tokenizer = {
    type: 'Split',
    pattern: { String: ' ' },
    behavior: 'MergedWithNext',
    invert: false,
  };

  refuses(() => build({ pre_tokenizer }), 'failed_precondition', /MergedWithNext/);
});

test('a pattern that backtracks without end is stopped with a typed error', () => {
  const pre_tokenizer = {
    type: 'Split',
    pattern: { Regex: '(a+)+$' },
    behavior: 'Isolated',
    invert: false,
  };
  const tokenizer = createTokenizer({ tokenizer: JSON.stringify(tiny({ pre_tokenizer })) }, 50);

  const hang = () => tokenizer.encode(`${'a'.repeat(60)}b`, { addSpecialTokens: false });

  refuses(hang, 'invalid_argument', /longer than 50 ms/);
  assert.deepEqual(tokenizer.encode('ab', { addSpecialTokens: false }), [4]);
});

test('a file that nests without end, and a Replace without a pattern, are refused', () => {
  const deep = `${'['.repeat(9000)}${']'.repeat(9000)}`;
  const tokenizer = JSON.stringify(tiny()).replace('"a":0', `"a":${deep}`);

  refuses(() => createTokenizer({ tokenizer }), 'invalid_argument', /nests deeper than 16/);
  const normalizer = { type: 'Replace', pattern: { 'String ': ' ' }, content: '_' };
  refuses(() => build({ normalizer }), 'invalid_argument', /Replace has no pattern/);
});

test('a template that cannot be filled in is refused when the file is opened, not when a text is encoded', () => {
  const template = (single: unknown) => ({
    post_processor: { type: 'TemplateProcessing', single, pair: [], special_tokens: {} },
  });

  for (const single of [undefined, 0.5, '(a+)+$', ['SpecialToken'], [{ Sequence: 1 }]]) {
    refuses(() => build(template(single)), 'invalid_argument', /post_processor\.single/);
  }
});

test('half a surrogate pair and an unknown id are refused', () => {
  const tokenizer = build();

  refuses(
    () => tokenizer.encode('\ud800', { addSpecialTokens: false }),
    'invalid_argument',
    /Unicode/,
  );
  refuses(() => tokenizer.token(99), 'invalid_argument', /99/);
  refuses(() => tokenizer.decode([0, 99]), 'invalid_argument', /outside/);
});

test('decoding what was encoded gives the text back', () => {
  const tokenizer = build();
  const texts = fc.array(fc.constantFrom('a', 'b', 'c', ' ', 'é'), { maxLength: 40 });

  fc.assert(
    fc.property(texts, (parts) => {
      const text = parts.join('');
      const ids = tokenizer.encode(text, { addSpecialTokens: true });
      assert.equal(tokenizer.decode(ids), text);
    }),
  );
});
