/** The tables of config fields against the fields of transformers' own config classes (test/golden/models/fields.json). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FAMILIES, type Family } from './model-config.ts';
import { FIELD_TABLES, readModelConfig } from './read-model-config.ts';

interface Golden {
  readonly families: Readonly<
    Record<
      Family,
      {
        readonly fields: Readonly<Record<string, unknown>>;
        readonly attribute_map: Readonly<Record<string, string>>;
      }
    >
  >;
}

const path = new URL('../../../../test/golden/models/fields.json', import.meta.url);
const golden = JSON.parse(readFileSync(path, 'utf8')) as Golden;

for (const family of FAMILIES) {
  const { fields, attribute_map } = golden.families[family];

  test(`${family}: every field of its transformers config class is honoured, harmless or refused`, () => {
    const missing = [...Object.keys(fields), ...Object.keys(attribute_map)].filter(
      (name) => !Object.hasOwn(FIELD_TABLES[family], name),
    );

    assert.deepEqual(missing, []);
  });

  test(`${family}: a config of nothing but defaults is read as transformers reads it`, () => {
    const { config, ignored } = readModelConfig('config.json', { model_type: family });
    const given = (...names: readonly string[]) =>
      names.map((name) => fields[name]).find((value) => value !== undefined);

    assert.deepEqual(ignored, []);
    assert.equal(config.d_vocab, given('vocab_size'));
    assert.equal(config.d_model, given('n_embd', 'hidden_size'));
    assert.equal(config.n_layers, given('n_layer', 'num_hidden_layers'));
    assert.equal(config.n_heads, given('n_head', 'num_attention_heads'));
    assert.equal(config.n_ctx, given('n_positions', 'max_position_embeddings'));
    assert.equal(config.d_mlp, given('intermediate_size') ?? 4 * config.d_model);
    assert.equal(config.n_key_value_heads, given('num_key_value_heads') ?? config.n_heads);
    assert.equal(config.d_head, given('head_dim') ?? config.d_model / config.n_heads);
    assert.equal(config.tiedEmbeddings, given('tie_word_embeddings'));
    assert.equal(
      config.norm.epsilon,
      given('layer_norm_epsilon', 'layer_norm_eps', 'rms_norm_eps'),
    );
    assert.equal(config.bosTokenId, given('bos_token_id') ?? undefined);
  });

  test(`${family}: its own defaults, written out, are accepted`, () => {
    const written = Object.fromEntries(Object.entries(fields).filter(([, v]) => v !== undefined));
    const implicit = readModelConfig('config.json', { model_type: family });

    const explicit = readModelConfig('config.json', { ...written, model_type: family });

    // Only null where the class derives a size: Qwen3 spells head_dim out, Qwen2 its 32 heads.
    assert.deepEqual(explicit.config, implicit.config);
    assert.deepEqual(explicit.ignored, []);
  });
}
