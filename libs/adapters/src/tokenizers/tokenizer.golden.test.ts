import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createTokenizer } from './index.ts';

interface Golden {
  readonly version: number;
  readonly producer: string;
  readonly texts: readonly string[];
  readonly cases: Readonly<
    Record<
      string,
      {
        readonly tokenizer: object;
        readonly with_special: readonly (readonly number[])[];
        readonly without_special: readonly (readonly number[])[];
        readonly decoded: readonly string[];
      }
    >
  >;
}

const golden = JSON.parse(
  readFileSync(new URL('./golden/tokenizers.json', import.meta.url), 'utf8'),
) as Golden;
assert.equal(golden.version, 1, 'golden/tokenizers.json: run golden/make.py again');

for (const [name, expected] of Object.entries(golden.cases)) {
  test(`a ${name} tokenizer gives the ids and texts of ${golden.producer}`, () => {
    const tokenizer = createTokenizer({ tokenizer: JSON.stringify(expected.tokenizer) });

    golden.texts.forEach((text, i) => {
      const with_special = tokenizer.encode(text, { addSpecialTokens: true });
      const without_special = tokenizer.encode(text, { addSpecialTokens: false });

      assert.deepEqual(with_special, expected.with_special[i], JSON.stringify(text));
      assert.deepEqual(without_special, expected.without_special[i], JSON.stringify(text));
      assert.equal(tokenizer.decode(without_special), expected.decoded[i], JSON.stringify(text));
    });
  });
}
