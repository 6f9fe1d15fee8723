import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { folderHub, loadConfig, loadModel } from '@heddle/adapters/hub';
import { MemoryJournal, temporaryFolder } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { hookMessages } from './model-info.ts';
import { ModelNames } from './model-names.ts';
import { ModelRegistry } from './model-registry.ts';
import { tokensOf } from './read-prompt.ts';

const SIZES = { n_layer: 2, n_head: 2, n_embd: 8, vocab_size: 100, n_positions: 16 };
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let registry: ModelRegistry;
let path: string;
let loads = 0;

before(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, 'random');
  await writeRandomModel(path, gpt2Config(SIZES), 1);
  registry = new ModelRegistry({
    hub: folderHub({ roots: [folder.path] }),
    store: { config: loadConfig, load: loadModel },
    names: new ModelNames(new MemoryJournal({ clock: systemClock })),
    openTokenizer: async () => undefined,
    bundledModel: path,
    clock: systemClock,
    onLoad: () => {
      loads++;
    },
  });
});

after(() => folder.remove());

const prompt = { id: '', tokens: { ids: [1, 99] } };

test('text and hook points are answered without a look at the weights', async () => {
  await registry.add(path, 'named');
  assert.equal(loads, 1);
  const weightless = join(folder.path, 'weightless');
  await writeRandomModel(weightless, gpt2Config(SIZES), 1);
  await rm(join(weightless, 'model.safetensors'));

  const reading = await registry.reading(weightless);
  assert.deepEqual(tokensOf(prompt, null, reading, 'prompt'), [1, 99]);
  const hooks = hookMessages(reading);
  const point = (name: string) => hooks.find((hook) => hook.name === name);
  assert.equal(point('blocks.1.attn.hook_z')?.available, true);
  assert.equal(point('blocks.1.attn.hook_rot_q')?.available, false);
  assert.match(point('blocks.1.attn.hook_rot_q')?.reason ?? '', /position embedding/);

  await assert.rejects(registry.open(weightless), { code: 'not_found', message: /safetensors/ });
  assert.equal((await registry.reading('named')).model.config.n_layers, 2);
  assert.equal(loads, 1);
});

test('a word that is neither a name nor a folder is told as both, whatever is asked', async () => {
  const missing = { code: 'not_found', field: 'model', message: /no model is named nobody/ };
  await assert.rejects(registry.reading('nobody'), missing);
  await assert.rejects(registry.open('nobody'), missing);
});

test('what could not be read is read again by the next caller', async () => {
  const late = join(folder.path, 'late');
  await assert.rejects(registry.reading(late), { code: 'not_found' });
  await writeRandomModel(late, gpt2Config(SIZES), 1);
  assert.equal((await registry.reading(late)).model.config.n_layers, 2);
});
