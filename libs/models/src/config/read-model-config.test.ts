import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { readModelConfig } from './read-model-config.ts';

const LLAMA = { model_type: 'llama', hidden_size: 24, num_attention_heads: 3 };
const QWEN = {
  model_type: 'qwen2',
  hidden_size: 24,
  num_attention_heads: 3,
  num_key_value_heads: 3,
};

const REFUSED: Record<string, [Record<string, unknown>, RegExp]> = {
  'an unknown architecture': [
    { model_type: 'mamba' },
    /model_type is "mamba"; one of gpt2, gpt_neox/,
  ],
  'no architecture': [{}, /model_type is missing/],
  'a size that is text': [
    { ...LLAMA, num_hidden_layers: '2' },
    /num_hidden_layers is "2"; a whole/,
  ],
  'a size of zero': [{ ...LLAMA, vocab_size: 0 }, /vocab_size is 0; a whole number from 1/],
  'a size past every model': [{ ...LLAMA, vocab_size: 1e15 }, /vocab_size is 1000000000000000/],
  'heads that do not divide': [
    { ...LLAMA, num_attention_heads: 5 },
    /a divisor of the hidden size/,
  ],
  'groups that do not divide': [{ ...LLAMA, num_key_value_heads: 2 }, /a divisor of num_attention/],
  'an unknown activation': [{ ...LLAMA, hidden_act: 'quick_gelu' }, /hidden_act is "quick_gelu"/],
  'an activation of the prototype': [{ ...LLAMA, hidden_act: 'toString' }, /is "toString"; one of/],
  'a negative epsilon': [{ ...LLAMA, rms_norm_eps: -1 }, /rms_norm_eps is -1; a number greater/],
  'quantised weights': [{ ...LLAMA, quantization_config: { bits: 4 } }, /quantization_config is/],
  'pruned heads': [{ ...LLAMA, pruned_heads: { 0: [1] } }, /pruned heads are not read/],
  'cross attention': [{ model_type: 'gpt2', add_cross_attention: true }, /no encoder to attend to/],
  'two names that disagree': [
    { model_type: 'gpt2', n_embd: 24, hidden_size: 48 },
    /as n_embd says/,
  ],
  'an unknown rotary type': [
    { ...LLAMA, rope_scaling: { type: 'dynamic', factor: 2 } },
    /"dynamic"; one of default, linear, llama3, yarn/,
  ],
  'an unknown rotary field': [
    { ...LLAMA, rope_parameters: { short_factor: [1] } },
    /"short_factor"/,
  ],
  'a linear type without factor': [
    { ...LLAMA, rope_scaling: { type: 'linear' } },
    /factor is missing/,
  ],
  'rotary fields that disagree': [
    { ...LLAMA, rope_scaling: { type: 'linear', factor: 2 }, rope_parameters: {} },
    /the same as rope_parameters/,
  ],
  'partly turned heads of Llama': [
    { ...LLAMA, rope_parameters: { partial_rotary_factor: 0.5 } },
    /partial_rotary_factor is 0.5; 1/,
  ],
  'an odd number of turned dimensions': [
    { model_type: 'gpt_neox', hidden_size: 24, num_attention_heads: 2, rotary_pct: 0.25 },
    /an even number of turned/,
  ],
  'sliding windows': [
    { ...QWEN, num_hidden_layers: 4, use_sliding_window: true, max_window_layers: 2 },
    /use_sliding_window is true/,
  ],
  'a layer with a window': [
    { ...QWEN, num_hidden_layers: 2, layer_types: ['full_attention', 'sliding_attention'] },
    /layer_types is/,
  ],
  'a token id that is text': [{ ...LLAMA, bos_token_id: '<s>' }, /bos_token_id is "<s>"/],
};

for (const [what, [json, words]] of Object.entries(REFUSED)) {
  test(`${what} is refused by name`, () => {
    assert.throws(
      () => readModelConfig('config.json', json),
      (error) => {
        assert.ok(error instanceof OperationError, String(error));
        assert.equal(error.code, 'invalid_argument');
        assert.match(error.message, /^config\.json/);
        assert.match(error.message, words);
        return true;
      },
    );
  });
}

test('what is not an object is refused', () => {
  for (const json of [null, [], 'x', 3]) {
    assert.throws(() => readModelConfig('config.json', json), /config\.json: not a JSON object/);
  }
});

test('a config that nests without end is refused before anything recursive looks at it', () => {
  const deep = JSON.parse(
    `{"model_type":"llama","rope_parameters":${'['.repeat(5000)}${']'.repeat(5000)}}`,
  );

  assert.throws(() => readModelConfig('config.json', deep), /config\.json: nests deeper than 32/);
});

test('fields that no table knows are listed, not honoured', () => {
  const { ignored } = readModelConfig('config.json', { ...LLAMA, zebra: 1, auto_map: {} });

  assert.deepEqual(ignored, ['auto_map', 'zebra']);
});

test('a window wider than no layer is accepted, as transformers would not use it', () => {
  const { config } = readModelConfig('config.json', {
    ...QWEN,
    num_hidden_layers: 2,
    use_sliding_window: true,
    max_window_layers: 2,
  });

  assert.equal(config.n_layers, 2);
});

test('a type of rotary positions under its older name is the same as under its newer', () => {
  const older = { ...LLAMA, rope_theta: 500, rope_scaling: { type: 'linear', factor: 2 } };
  const newer = { ...LLAMA, rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 500 } };

  assert.deepEqual(readModelConfig('a', older).config, readModelConfig('a', newer).config);
});

test('the activation of GPT-NeoX-20B, gelu_fast, is the tanh form under another name', () => {
  const neox = { model_type: 'gpt_neox', hidden_size: 24, num_attention_heads: 3 };
  const read = (hidden_act: string) => readModelConfig('a', { ...neox, hidden_act }).config;

  assert.deepEqual(read('gelu_fast'), read('gelu_new'));
});
