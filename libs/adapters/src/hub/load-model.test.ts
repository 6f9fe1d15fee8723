/** Damaged and hostile model folders: one clear error each. Made by damaging a golden model. */
import assert from 'node:assert/strict';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import { buildSegment, PLAIN } from '@heddle/models';
import { type Tensor, tensor } from '@heddle/tensor';
import { folderHub, loadModel, openModelFolder, openWeights, programOf } from './index.ts';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden/models');

/** Runs the body on a copy of a golden model. */
async function withCopy(name: string, body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-model-'));
  try {
    cpSync(join(GOLDEN, name), folder, { recursive: true });
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const load = async (folder: string) => loadModel(await openModelFolder(folder));

/** Rewrites the weights of a folder. */
function rewrite(folder: string, change: (tensors: Record<string, Tensor>) => void): void {
  const path = join(folder, 'model.safetensors');
  const read = readSafetensors(path, readFileSync(path));
  const tensors = Object.fromEntries(read.names().map((name) => [name, read.tensor(name)]));
  change(tensors);
  writeFileSync(path, writeSafetensors(tensors));
}

function editConfig(folder: string, change: Record<string, unknown>): void {
  const path = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...config, ...change }));
}

const INDEX = 'model.safetensors.index.json';

function editIndex(folder: string, change: (map: Record<string, string>) => void): void {
  const path = join(folder, INDEX);
  const index = JSON.parse(readFileSync(path, 'utf8')) as { weight_map: Record<string, string> };
  change(index.weight_map);
  writeFileSync(path, JSON.stringify(index));
}

type Damage = readonly [
  model: string,
  damage: (folder: string) => void,
  code: string,
  words: RegExp,
];

const f32 = (shape: readonly number[]) =>
  tensor('f32', shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));

const DAMAGES: Record<string, Damage> = {
  'a folder without config': [
    'llama2',
    (f) => unlinkSync(join(f, 'config.json')),
    'not_found',
    /no config\.json/,
  ],
  'a config that is not JSON': [
    'llama2',
    (f) => writeFileSync(join(f, 'config.json'), '{'),
    'invalid_argument',
    /^config\.json: not JSON/,
  ],
  'a config that is not UTF-8': [
    'llama2',
    (f) => writeFileSync(join(f, 'config.json'), Uint8Array.of(0xff)),
    'invalid_argument',
    /config\.json: not UTF-8/,
  ],
  'an unknown architecture': [
    'llama2',
    (f) => editConfig(f, { model_type: 'mixtral' }),
    'invalid_argument',
    /model_type is "mixtral"/,
  ],
  'a folder without weights': [
    'llama2',
    (f) => unlinkSync(join(f, 'model.safetensors')),
    'not_found',
    /neither model\.safetensors nor/,
  ],
  'a truncated file': [
    'llama2',
    (f) => truncateSync(join(f, 'model.safetensors'), 9000),
    'invalid_argument',
    /^model\.safetensors: it is cut short/,
  ],
  'a file cut inside its header': [
    'llama2',
    (f) => truncateSync(join(f, 'model.safetensors'), 100),
    'invalid_argument',
    /^model\.safetensors: its header claims/,
  ],
  'an empty file': [
    'llama2',
    (f) => truncateSync(join(f, 'model.safetensors'), 0),
    'invalid_argument',
    /it has 0 bytes/,
  ],
  'a missing tensor': [
    'llama2',
    (f) => rewrite(f, (t) => delete t['model.layers.1.mlp.up_proj.weight']),
    'invalid_argument',
    /^model\.safetensors: tensor "model\.layers\.1\.mlp\.up_proj\.weight" is missing; \[40, 24\] expected/,
  ],
  'a tensor of another shape': [
    'llama2',
    (f) => rewrite(f, (t) => (t['model.norm.weight'] = f32([25]))),
    'invalid_argument',
    /^model\.safetensors: tensor "model\.norm\.weight" has shape \[25\]; \[24\] expected/,
  ],
  'a transposed matrix': [
    'llama2',
    (f) => rewrite(f, (t) => (t['model.layers.0.mlp.up_proj.weight'] = f32([24, 40]))),
    'invalid_argument',
    /has shape \[24, 40\]; \[40, 24\] expected/,
  ],
  'a tensor of another type': [
    'llama2',
    (f) => rewrite(f, (t) => (t['model.norm.weight'] = tensor('i32', [24], new Int32Array(24)))),
    'invalid_argument',
    /tensor "model\.norm\.weight" has dtype I32; F32, F16 or BF16 expected/,
  ],
  'a NaN': [
    'llama2',
    (f) =>
      rewrite(
        f,
        (t) => ((t['model.layers.0.mlp.up_proj.weight'] as Tensor<'f32'>).data[25] = Number.NaN),
      ),
    'invalid_argument',
    /tensor "model\.layers\.0\.mlp\.up_proj\.weight" is NaN or infinite at \[1, 1\]/,
  ],
  'an infinity in half precision': [
    'neox-parallel',
    (f) =>
      rewrite(f, (t) => ((t['gpt_neox.final_layer_norm.bias'] as Tensor<'f16'>).data[3] = 0x7c00)),
    'invalid_argument',
    /NaN or infinite at \[3\]/,
  ],
  'an infinity in bfloat16': [
    'qwen2',
    (f) => rewrite(f, (t) => ((t['model.norm.weight'] as Tensor<'bf16'>).data[0] = 0xff80)),
    'invalid_argument',
    /NaN or infinite at \[0\]/,
  ],
  'an unembedding that contradicts the tying': [
    'qwen2',
    (f) => rewrite(f, (t) => (t['lm_head.weight'] = f32([50, 24]))),
    'failed_precondition',
    /tie_word_embeddings is true, but lm_head\.weight differs/,
  ],
  'an index that names a path': [
    'gpt2-unscaled',
    (f) => editIndex(f, (m) => (m['transformer.wte.weight'] = '../secret.safetensors')),
    'invalid_argument',
    /names "\.\.\/secret\.safetensors"; a \.safetensors file of the same folder/,
  ],
  'an index that names an absolute path': [
    'gpt2-unscaled',
    (f) => editIndex(f, (m) => (m['transformer.wte.weight'] = '/etc/x.safetensors')),
    'invalid_argument',
    /same folder/,
  ],
  'an index that names a missing shard': [
    'gpt2-unscaled',
    (f) => editIndex(f, (m) => (m['transformer.wte.weight'] = 'model-9.safetensors')),
    'not_found',
    /names model-9\.safetensors, which is not/,
  ],
  'an index that puts a tensor into the wrong shard': [
    'gpt2-unscaled',
    (f) =>
      editIndex(
        f,
        (m) =>
          (m['transformer.wte.weight'] =
            m['transformer.wte.weight'] === 'model-00001-of-00002.safetensors'
              ? 'model-00002-of-00002.safetensors'
              : 'model-00001-of-00002.safetensors'),
      ),
    'invalid_argument',
    /says that tensor "transformer\.wte\.weight" is in .* lacks it/,
  ],
  'an index that is a list': [
    'gpt2-unscaled',
    (f) => writeFileSync(join(f, INDEX), '[]'),
    'invalid_argument',
    /weight_map is not an object/,
  ],
  'a config that is a link out of the folder': [
    'llama2',
    (f) => {
      unlinkSync(join(f, 'config.json'));
      symlinkSync('/etc/passwd', join(f, 'config.json'));
    },
    'permission_denied',
    /a link that is not one of the hub's cache/,
  ],
  'weights that are a folder': [
    'llama2',
    (f) => {
      unlinkSync(join(f, 'model.safetensors'));
      mkdirSync(join(f, 'model.safetensors'));
    },
    'permission_denied',
    /not a regular file/,
  ],
};

for (const [what, [model, damage, code, words]] of Object.entries(DAMAGES)) {
  test(`${what} is refused in one sentence`, () =>
    withCopy(model, async (folder) => {
      damage(folder);

      await assert.rejects(load(folder), (error) => {
        assert.ok(error instanceof OperationError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, words);
        return true;
      });
    }));
}

test('a snapshot of the hub cache is read through its links, with real files for the engine', () =>
  withCopy('llama2', async (folder) => {
    const repository = join(folder, 'models--a--b');
    const [blobs, snapshot] = [join(repository, 'blobs'), join(repository, 'snapshots', 'abc')];
    mkdirSync(blobs, { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    const names = { 'config.json': 'a'.repeat(40), 'model.safetensors': 'b'.repeat(64) };
    for (const [name, hash] of Object.entries(names)) {
      cpSync(join(folder, name), join(blobs, hash));
      symlinkSync(`../../blobs/${hash}`, join(snapshot, name));
    }

    const [cached, plain] = [await load(snapshot), await load(folder)];

    assert.equal(cached.digest, plain.digest);
    assert.equal(cached.weights.get('W_E')?.location.file, 'b'.repeat(64));
    assert.ok(cached.weightsDirectory.endsWith('blobs'));
    const reader = openWeights(await openModelFolder(snapshot), cached);
    assert.deepEqual((await reader.read('W_E')).shape, [50, 24]);
    await reader.close();
  }));

test('a link to a blob of another repository is refused', () =>
  withCopy('llama2', async (folder) => {
    const snapshot = join(folder, 'mine', 'snapshots', 'abc');
    const blobs = join(folder, 'other', 'blobs');
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(blobs, { recursive: true });
    cpSync(join(folder, 'config.json'), join(blobs, 'a'.repeat(40)));
    symlinkSync(join(blobs, 'a'.repeat(40)), join(snapshot, 'config.json'));

    await assert.rejects(load(snapshot), /a link that is not one of the hub's cache/);
  }));

test('a hub with roots opens what lies under them and nothing else', () =>
  withCopy('llama2', async (folder) => {
    mkdirSync(join(folder, 'models', 'mine'), { recursive: true });
    mkdirSync(join(folder, 'models-not'), { recursive: true });
    symlinkSync(folder, join(folder, 'models', 'escape'));
    const hub = folderHub({ roots: [join(folder, 'models')] });

    assert.equal((await hub.open(join(folder, 'models', 'mine'))).files.length, 0);
    for (const outside of ['models-not', 'models/../models-not', 'models/escape', '.']) {
      await assert.rejects(hub.open(`${folder}/${outside}`), { code: 'permission_denied' });
    }
    await assert.rejects(hub.open(join(folder, 'none')), { code: 'not_found' });
  }));

test('a folder tells the folders in it apart, and a file when it was written; a link is neither', () =>
  withCopy('llama2', async (folder) => {
    mkdirSync(join(folder, 'below'));
    symlinkSync(join(folder, 'below'), join(folder, 'link'));

    const opened = await openModelFolder(folder);
    const file = await opened.open('config.json');
    await file.close();

    assert.deepEqual(opened.folders, ['below']);
    assert.equal(file.modifiedMs, statSync(join(folder, 'config.json')).mtimeMs);
  }));

test('a name with a separator opens nothing', () =>
  withCopy('llama2', async (folder) => {
    const opened = await openModelFolder(folder);

    for (const name of ['../x', '/etc/passwd', '.', '..', '', 'a/b', 'a\\b', 'a\0b']) {
      await assert.rejects(opened.open(name), { code: 'permission_denied' });
      await assert.rejects(opened.realLocation(name), { code: 'permission_denied' });
    }
  }));

test('the digest follows the weights and the config, and nothing else', () =>
  withCopy('llama2', async (folder) => {
    const before = await load(folder);
    writeFileSync(join(folder, 'README.md'), 'new');
    const same = await load(folder);
    rewrite(folder, (t) => ((t['model.norm.weight'] as Tensor<'f32'>).data[0] = 2));
    const other = await load(folder);

    assert.equal(same.digest, before.digest);
    assert.notEqual(other.digest, before.digest);
    const graph = buildSegment(
      before,
      { kind: 'unembed' },
      { ...PLAIN, residOut: false, hooks: ['logits'] },
    );
    assert.notEqual(programOf(before, graph).digest, programOf(other, graph).digest);
    assert.equal(programOf(before, graph).residentBytes, 4 * (50 * 24 + 24));
  }));

test('fields and tensors that nothing reads are listed; known buffers are not', () =>
  withCopy('gpt2', async (folder) => {
    editConfig(folder, { zebra: 1 });
    rewrite(folder, (t) => (t['stray'] = f32([1])));

    const { ignoredFields, ignoredTensors } = await load(folder);

    assert.deepEqual(ignoredFields, ['zebra']);
    assert.deepEqual(ignoredTensors, ['stray']);
  }));
