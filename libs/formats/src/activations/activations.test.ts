import assert from 'node:assert/strict';
import { test } from 'node:test';
import { narrowF16, tensor } from '@heddle/tensor';
import {
  type ActivationManifest,
  countShards,
  readActivationManifest,
  shardBlobs,
  writeActivationManifest,
} from './activation-manifest.ts';
import {
  decodeHookShard,
  decodeTokensShard,
  encodeHookShard,
  encodeTokensShard,
} from './activation-shard.ts';

const digest = (letter: string): `sha256:${string}` => `sha256:${letter.repeat(64)}`;
const counts = { sequences: 2, tokens: 7, valid: 6, documents: 1 };
const shard = (held_out: boolean, letters: string) => ({
  ...counts,
  held_out,
  pos: 4,
  bytes: 100,
  blobs: {
    tokens: digest(letters[0] as string),
    'blocks.0.hook_attn_out': digest(letters[1] as string),
    'blocks.1.hook_attn_out': digest(letters[2] as string),
  },
});

const manifest: ActivationManifest = {
  format: 'heddle.activations',
  version: 1,
  model: 'bundled',
  model_digest: digest('a'),
  corpus: 'prompts',
  corpus_digest: digest('b'),
  tokenizer_digest: '',
  context: 4,
  tokens_max: 0,
  dtype: 'f32',
  hooks: [0, 1].map((layer) => ({
    name: `blocks.${layer}.hook_attn_out`,
    axes: ['d_model'],
    shape: [3],
  })),
  shards: [shard(false, '012'), shard(true, '304')],
  train: counts,
  held_out: counts,
  bytes: 200,
};

test('a manifest is read as it was written, and tells which blobs some of its hooks take', () => {
  assert.deepEqual(readActivationManifest(writeActivationManifest(manifest)), manifest);
  assert.deepEqual(
    shardBlobs(manifest, ['blocks.1.hook_attn_out']),
    ['0', '2', '3', '4'].map(digest),
  );
  assert.equal(shardBlobs(manifest).length, 5, 'each once');
  assert.deepEqual(countShards(manifest.shards), {
    sequences: 4,
    tokens: 14,
    valid: 12,
    documents: 2,
  });
});

test('a manifest that is damaged, of another format or newer is data loss that says why', () => {
  const refused = (changes: object, words: RegExp): void => {
    const bytes = new TextEncoder().encode(JSON.stringify({ ...manifest, ...changes }));
    assert.throws(() => readActivationManifest(bytes), { code: 'data_loss', message: words });
  };
  refused({ format: 'lorsa' }, /format is "lorsa"/);
  refused({ version: 2 }, /version 2; this reader knows 1/);
  refused({ corpus_digest: 3 }, /corpus_digest/);
  refused({ dtype: 'f64' }, /dtype/);
  refused({ train: { ...counts, tokens: -1 } }, /train\.tokens/);
  refused({ hooks: [{ name: 'x', axes: ['d_model'], shape: [] }] }, /x has axes without sizes/);
  refused(
    { shards: [{ ...shard(false, '012'), blobs: { tokens: digest('0') } }] },
    /shards\[0\] lacks/,
  );
  refused({ shards: [{ ...shard(false, '012'), pos: 1.5 }] }, /shards\[0\]\.pos/);
  assert.throws(() => readActivationManifest(new Uint8Array([1])), { code: 'data_loss' });
});

test('shards are read as they were written, halves widened; what is no shard is data loss', () => {
  const tokens = {
    tokens: tensor('i32', [2, 3], Int32Array.of(5, 6, 7, 8, 9, 0)),
    valid: tensor('u8', [2, 3], Uint8Array.of(0, 1, 1, 1, 1, 0)),
    length: tensor('i32', [2], Int32Array.of(3, 2)),
    document: tensor(
      'u8',
      [2, 8],
      Uint8Array.from({ length: 16 }, (_, i) => i),
    ),
  };
  assert.deepEqual(decodeTokensShard(encodeTokensShard(tokens)), tokens);
  const values = tensor('f32', [1, 2, 2], Float32Array.of(1, -0.5, 3, 0));
  assert.deepEqual(decodeHookShard(encodeHookShard(values)), values);
  const halves = tensor('f16', [1, 2, 2], narrowF16(values.data));
  assert.deepEqual(decodeHookShard(encodeHookShard(halves)), values);
  const wrong = { ...tokens, length: tensor('i32', [3], new Int32Array(3)) };
  assert.throws(() => decodeTokensShard(encodeTokensShard(wrong)), { code: 'data_loss' });
  assert.throws(() => decodeHookShard(encodeTokensShard(tokens)), { code: 'data_loss' });
  assert.throws(() => decodeTokensShard(encodeHookShard(values)), { code: 'data_loss' });
});
