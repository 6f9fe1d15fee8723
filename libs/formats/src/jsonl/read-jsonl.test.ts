import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJsonl, writeJsonl } from './read-jsonl.ts';

test('lines keep the number that an editor shows, across blank lines and CR LF', () => {
  const lines = readJsonl('a.jsonl', '\uFEFF{"a":1}\r\n\n[2]');

  assert.deepEqual(lines, [
    { line: 1, value: { a: 1 } },
    { line: 3, value: [2] },
  ]);
});

test('a line that is not JSON is refused by file and line', () => {
  assert.throws(() => readJsonl('a.jsonl', '{}\n{'), /^OperationError: a\.jsonl:2: not JSON/);
});

test('what is written is read back', () => {
  const values = [{ text: 'a\nb' }, 1, null];

  assert.deepEqual(
    readJsonl('x', writeJsonl(values)).map(({ value }) => value),
    values,
  );
});
