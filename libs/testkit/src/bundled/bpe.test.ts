import assert from 'node:assert/strict';
import { test } from 'node:test';
import { POOL } from '@heddle/interp/tasks';
import { Tokenizer } from '@huggingface/tokenizers';
import { BpeEncoder, END_OF_TEXT } from './bpe.ts';
import { splitWords } from './byte-level.ts';
import { tokenizerConfigJson, tokenizerJson } from './tokenizer-file.ts';
import { bundledBpe, wordCounts } from './vocabulary.ts';

const bpe = bundledBpe();
const encoder = new BpeEncoder(bpe);

test('every word of the training text is one token, with the space before it', () => {
  const broken = [...wordCounts().keys()].filter((word) => encoder.encode(word).length !== 1);
  assert.deepEqual(broken, []);
  assert.equal(new Set(POOL.map((word) => encoder.encode(` ${word}`)[0])).size, POOL.length);
});

test('ids are dense and the end of text is the last', () => {
  assert.deepEqual(
    [...bpe.vocab.values()].sort((a, b) => a - b),
    Array.from({ length: bpe.vocab.size }, (_, id) => id),
  );
  assert.equal(bpe.vocab.get(END_OF_TEXT), bpe.vocab.size - 1);
});

test('the tokenizer file gives other readers the same ids, also for text that training never held', () => {
  const json = tokenizerJson(bpe) as object;
  const reader = new Tokenizer(json, tokenizerConfigJson(256) as object);
  const texts = [
    'When Mary and John went to the store, John gave a drink to',
    'List:\n- cat\n- apple\nWhich fruits are in the list? Answer: apple.',
    " zebra  two spaces\tand a tab, don't; Ünïcode 🙂 1234567 \n\n x",
    'The book is in box C. Which box is the book in? Box C.',
  ];
  for (const text of texts) assert.deepEqual(encoder.encode(text), reader.encode(text).ids);
});

test('words split where GPT-2 splits them', () => {
  assert.deepEqual(splitWords("Mary's  12cats\n- a?"), [
    'Mary',
    "'s",
    ' ',
    ' 12',
    'cats',
    '\n',
    '-',
    ' a',
    '?',
  ]);
});
