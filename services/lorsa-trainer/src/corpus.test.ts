import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import type { Hub } from '@heddle/ports';
import { readCorpus } from './corpus.ts';

function hubWith(files: Readonly<Record<string, string>>): Hub {
  return {
    open: async (path) => ({
      path,
      files: Object.keys(files),
      readText: async (name) => files[name] ?? '',
      open: () => assert.fail('text only'),
      realLocation: () => assert.fail('text only'),
    }),
  };
}

const corpus = (files: Readonly<Record<string, string>>, path: string) =>
  readCorpus(hubWith(files), { prompts: [], corpus: path });

test('paragraphs of a text file and lines of a jsonl file are prompts', async () => {
  assert.deepEqual(await corpus({ 'a.txt': 'One.\ntwo\n\n \nThree.' }, '/d/a.txt'), [
    { text: 'One.\ntwo' },
    { text: 'Three.' },
  ]);
  const lines = '{"text": "One."}\n\n{"tokens": [1, 2], "id": "x"}\n';
  assert.deepEqual(await corpus({ 'a.jsonl': lines }, '/d/a.jsonl'), [
    { text: 'One.' },
    { tokens: [1, 2] },
  ]);
});

test('a missing file, an empty one and a wrong line are refused with file and line', async () => {
  const refusal = (message: RegExp) => (error: OperationError) => {
    assert.equal(error.code, 'invalid_argument');
    assert.match(error.message, message);
    return true;
  };
  await assert.rejects(corpus({}, '/d/a.txt'), refusal(/\/d has no file a\.txt/));
  await assert.rejects(corpus({ 'a.txt': ' \n' }, '/d/a.txt'), refusal(/no text/));
  const lines = '{"text": "One."}\n{"txt": "Two."}';
  await assert.rejects(corpus({ 'a.jsonl': lines }, '/d/a.jsonl'), refusal(/line 2/));
});

test('without prompts and corpus the bundled model’s own tasks are the text, always the same', async () => {
  const none = { prompts: [], corpus: '' };
  const [once, again] = [await readCorpus(hubWith({}), none), await readCorpus(hubWith({}), none)];
  assert.deepEqual(once, again);
  const texts = once.map((prompt) => ('text' in prompt ? prompt.text : ''));
  assert.ok(texts.length >= 100 && new Set(texts).size > 0.9 * texts.length);
  assert.ok(texts.every((text) => text.trim() !== ''));
});
