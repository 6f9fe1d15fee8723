/** Token ids on a torture list against the `tokenizers` library, for small tokenizers of three kinds and the real model's. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createTokenizer } from '@heddle/adapters/tokenizers';
import { GOLDEN } from './golden-model.ts';

interface Expected {
  readonly cases: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly ids_with_special: readonly number[];
    readonly decoded: string;
  }[];
}

function agree(file: string, expectations: string): void {
  const tokenizer = createTokenizer({ tokenizer: readFileSync(file, 'utf8') });
  const { cases } = JSON.parse(readFileSync(expectations, 'utf8')) as Expected;
  assert.ok(cases.length > 50);
  for (const { text, ids, ids_with_special, decoded } of cases) {
    const shown = JSON.stringify(text);
    assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), ids, shown);
    assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: true }), ids_with_special, shown);
    assert.equal(tokenizer.decode(ids), decoded, shown);
  }
}

const folder = join(GOLDEN, 'tokenizers');

for (const name of ['gpt2', 'llama3', 'llama2']) {
  test(`a tokenizer in the manner of ${name} gives the ids of the tokenizers library`, () => {
    agree(join(folder, name, 'tokenizer.json'), join(folder, name, 'expected.json'));
  });
}

const real = join(process.env['HEDDLE_REAL_MODEL'] ?? '', 'tokenizer.json');
const skip =
  process.env['HEDDLE_REAL_MODEL'] && existsSync(real)
    ? false
    : 'skipped: no model at HEDDLE_REAL_MODEL';
if (skip) console.log(skip);

test('the real tokenizer gives the ids of the tokenizers library', { skip }, () => {
  agree(real, join(folder, 'real-expected.json'));
});
