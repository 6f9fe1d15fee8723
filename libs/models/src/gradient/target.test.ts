import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import type { ModelConfig } from '../config/model-config.ts';
import { readModelConfig } from '../config/read-model-config.ts';
import { TARGET_CHARS_MAX, TARGET_TERMS_MAX } from '../limits.ts';
import { readTarget } from './read-target.ts';
import { placeTarget, resolveTarget } from './resolve-target.ts';

const { config }: { config: ModelConfig } = readModelConfig('config.json', {
  model_type: 'llama',
  vocab_size: 50,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
});

const refuses = (run: () => unknown, words: RegExp) =>
  assert.throws(run, (error: OperationError) => {
    assert.equal(error.code, 'invalid_argument', error.message);
    assert.equal(error.field, 'gradient');
    assert.match(error.message, words);
    return true;
  });

test('sums, factors, signs, text and ids are read as written', () => {
  const terms = readTarget(
    String.raw` - logit[-1, " Mary"] + .5*logprob[0,id:7]-2e1 * blocks.1.attn.hook_z[ -2 , 3 , 4 ] + logit[1, 'say \'a\n\"\\']`,
  );

  assert.deepEqual(terms, [
    { weight: -1, name: 'logit', indices: [-1, { text: ' Mary' }] },
    { weight: 0.5, name: 'logprob', indices: [0, { id: 7 }] },
    { weight: -20, name: 'blocks.1.attn.hook_z', indices: [-2, 3, 4] },
    { weight: 1, name: 'logit', indices: [1, { text: 'say \'a\n"\\' }] },
  ]);
});

test('what is no expression is told with the character and what was expected', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /logit, logprob or a hook point expected at character 0, found the end/],
    ['logit', /\[ after logit expected at character 5/],
    ['logit[]', /an index: .* expected at character 6/],
    ['logit[1, "a]', /an index: .* at character 9/],
    ['logit[1, 2', /, or \] expected at character 10, found the end/],
    ['logit[1.5, id:2]', /, or \] expected at character 7/],
    ['2 logit[1, id:2]', /\* expected at character 2/],
    ['logit[1, id:2] logit[1, id:3]', /\+, - or the end expected at character 15/],
    ['logit[1, id:2] +', /hook point expected at character 16/],
    ['1e999 * logit[1, id:2]', /1e999 is no f32 number/],
    ['hook_embed[1,1,1,1,1,1,1,1,1]', /\] expected/],
    [`${' '.repeat(TARGET_CHARS_MAX)}x`, /at most 16384/],
    [
      Array(TARGET_TERMS_MAX + 1)
        .fill('x[1]')
        .join('+'),
      /more than 256 terms/,
    ],
  ];
  for (const [expression, words] of cases) refuses(() => readTarget(expression), words);
});

test('aliases become hook points, a logit an entry of the logits, and a text its one token', () => {
  const encode = (text: string) => (text === ' Mary' ? [11] : [1, 2]);
  const resolve = (expression: string) => resolveTarget(config, readTarget(expression), encode);

  assert.deepEqual(resolve('logit[-1, " Mary"] + logprob[0, id:3] + blocks.1.hook_out[2, 5]'), [
    { weight: 1, hook: 'logits', of: 'value', indices: [-1, 11] },
    { weight: 1, hook: 'logits', of: 'logprob', indices: [0, 3] },
    { weight: 1, hook: 'blocks.1.hook_resid_post', of: 'value', indices: [2, 5] },
  ]);
  assert.deepEqual(resolve('logits[4, 7]'), resolve('logit[4, id:7]'));
  refuses(() => resolve('logit[0, " John"]'), /" John" is 2 tokens \[1,2\], where one/);
});

test('what the model has not is told by name, axis and range', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['blocks.2.hook_mlp_out[0, 0]', /layers 0 to 1/],
    ['hook_pos_embed[0, 0]', /rotary/],
    ['nothing[0]', /nothing: no hook point/],
    ['logit[0]', /logit takes \[pos, token\], found 1/],
    ['blocks.0.attn.hook_attn_scores[0, 1]', /takes \[head, query_pos, key_pos\], found 2/],
    ['blocks.0.attn.hook_attn_scores[4, 1, 0]', /head 4; 0 to 3/],
    ['blocks.0.attn.hook_k[0, 2, 0]', /kv_head 2; 0 to 1/],
    ['blocks.0.attn.hook_z[0, -1, 0]', /head -1; 0 to 3/],
    ['hook_embed[0, "a"]', /"a" stands for d_model, which takes a whole number/],
    ['hook_embed[99, 0]', /pos 99; the model reads 32 positions/],
    ['logit[0, 7]', /token 7 may be a text or an id: write "7" or id:7/],
    ['logit[0, id:50]', /ids are 0 to 49/],
    ['logit[0, "a"]', /no tokenizer.json: write a token as id:N/],
  ];
  for (const [expression, words] of cases) {
    refuses(() => resolveTarget(config, readTarget(expression), undefined), words);
  }
});

test('positions count from the end of each prompt, and never leave it', () => {
  const place = (expression: string, length: number) =>
    placeTarget(config, resolveTarget(config, readTarget(expression), undefined), length).map(
      ({ indices }) => indices,
    );
  const scores = 'blocks.0.attn.hook_attn_scores';

  assert.deepEqual(place(`logit[-1, id:7] + ${scores}[3, -1, -2]`, 5), [
    [4, 7],
    [3, 4, 3],
  ]);
  refuses(() => place('logit[5, id:7]', 5), /pos 5; a prompt has positions -5 to 4/);
  refuses(() => place('logit[-6, id:7]', 5), /pos -6/);
  refuses(() => place(`${scores}[0, 1, 2]`, 5), /key 2 lies behind query 1/);
});
