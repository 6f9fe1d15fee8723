import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { readModelConfig } from '../config/read-model-config.ts';
import { hookPoints, lackingPoints } from './catalogue.ts';
import { resolveHooks } from './resolve-hooks.ts';

const config = (fields: Record<string, unknown>) => readModelConfig('config.json', fields).config;
const gpt2 = config({ model_type: 'gpt2', n_layer: 12 });
const pythia = config({ model_type: 'gpt_neox', hidden_size: 64, num_attention_heads: 4 });
const qwen3 = config({ model_type: 'qwen3', num_hidden_layers: 2, num_key_value_heads: 8 });

test('names come without repeats, in the order of the forward pass', () => {
  const names = resolveHooks(gpt2, ['logits', 'blocks.3.attn.hook_z', 'hook_embed', 'logits']);

  assert.deepEqual(names, ['hook_embed', 'blocks.3.attn.hook_z', 'logits']);
});

test('a star takes every point of the model', () => {
  assert.deepEqual(
    resolveHooks(qwen3, ['*']),
    hookPoints(qwen3).map(({ name }) => name),
  );
});

test('globs choose layers', () => {
  const of = (pattern: string) => resolveHooks(gpt2, [pattern]);

  assert.equal(of('blocks.*.attn.hook_pattern').length, 12);
  assert.equal(of('blocks.?.attn.hook_pattern').length, 10);
  assert.deepEqual(of('blocks.[2-3].hook_resid_pre'), [
    'blocks.2.hook_resid_pre',
    'blocks.3.hook_resid_pre',
  ]);
});

test('names after the modules mean the same points', () => {
  const names = resolveHooks(qwen3, [
    'blocks.1.hook_in',
    'blocks.0.attn.q.hook_out',
    'unembed.hook_out',
    'blocks.0.mlp.in.hook_out',
  ]);

  assert.deepEqual(names, [
    'blocks.0.attn.hook_q',
    'blocks.0.mlp.hook_pre_linear',
    'blocks.1.hook_resid_pre',
    'logits',
  ]);
});

const REFUSED: [string, typeof gpt2, string, RegExp][] = [
  [
    'resid_mid of a parallel model',
    pythia,
    'blocks.0.hook_resid_mid',
    /MLP and attention both read resid_pre/,
  ],
  [
    'resid_mid of a parallel model by glob',
    pythia,
    'blocks.*.hook_resid_mid',
    /MLP and attention both read/,
  ],
  ['positions of a rotary model', pythia, 'hook_pos_embed', /positions enter by rotary/],
  ['turned queries of GPT-2', gpt2, 'blocks.0.attn.hook_rot_q', /adds a position embedding/],
  [
    'normalised queries elsewhere than in Qwen3',
    gpt2,
    'blocks.0.attn.q_norm.hook_normalized',
    /Qwen3/,
  ],
  ['a second input of an MLP without a gate', gpt2, 'blocks.0.mlp.hook_pre_linear', /no gate/],
  ['a layer too many', gpt2, 'blocks.12.hook_resid_pre', /layers 0 to 11/],
  ['a misspelt point', gpt2, 'blocks.0.hook_resid', /no hook point of a block has this name/],
  ['a misspelt name', gpt2, 'embed', /no hook point has this name/],
  ['a glob of nothing', gpt2, 'x*', /matches no hook point of this gpt2 model/],
  ['an open set', gpt2, 'blocks.[0', /not closed/],
  ['an endless pattern', gpt2, '*'.repeat(300), /longer than 256/],
];

for (const [what, model, pattern, words] of REFUSED) {
  test(`${what} is refused with the reason`, () => {
    assert.throws(
      () => resolveHooks(model, ['logits', pattern]),
      (error) => {
        assert.ok(error instanceof OperationError);
        assert.equal(error.code, 'invalid_argument');
        assert.equal(error.field, 'hooks[1]');
        assert.match(error.message, words);
        return true;
      },
    );
  });
}

test('what a model lacks is listed with the reason that a request for it is refused with', () => {
  for (const model of [gpt2, pythia, qwen3]) {
    const lacking = lackingPoints(model);
    const there = new Set(hookPoints(model).map(({ name }) => name));
    assert.ok(lacking.length > 0, model.family);
    for (const { name, reason } of lacking) {
      assert.ok(!there.has(name), name);
      assert.throws(
        () => resolveHooks(model, [name]),
        (error) => error instanceof OperationError && error.message.includes(reason),
        name,
      );
    }
  }
  const whole = (model: typeof gpt2) =>
    [...hookPoints(model), ...lackingPoints(model)]
      .map(({ name }) => name)
      .filter((name) => !/\.[1-9]/.test(name));
  assert.deepEqual(whole(gpt2).sort(), whole(qwen3).sort(), 'one catalogue for all families');
});

test('a hostile glob costs no more than pattern times text', () => {
  const hostile = `${'*a'.repeat(120)}*b`;

  assert.throws(() => resolveHooks(gpt2, [hostile]), /matches no hook point/);
});
