import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ModelNames, NAMES_ANNOUNCED } from '@heddle/activation-server/model-names';
import { Uploads } from '@heddle/activation-server/uploads';
import { systemClock } from '@heddle/adapters/clock';
import { LocalEvents } from '@heddle/adapters/events';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { folderHub } from '@heddle/adapters/hub';
import type { BlobDigest, ContentFile } from '@heddle/ports';
import {
  CountingMetrics,
  type LogLine,
  MemoryJournal,
  recordingLog,
  temporaryFolder,
  until,
} from '@heddle/testkit';
import { EnvironmentReader } from './environment.ts';
import { readModelsConfig } from './model-config.ts';
import { type ModelContent, openModelContent } from './model-content.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let blobs: DirectoryBlobs;
const journal = new MemoryJournal({ clock: systemClock });
const events = new LocalEvents();
const lines: LogLine[] = [];
const opened: ModelContent[] = [];

before(async () => {
  folder = await temporaryFolder();
  blobs = await DirectoryBlobs.open(join(folder.path, 'blobs'));
});
after(async () => {
  for (const each of opened) await each.close();
  await folder.remove();
});

async function open(name: string, shared: boolean, environment = {}) {
  const metrics = new CountingMetrics();
  const ports = { journal, events, blobs, clock: systemClock, log: recordingLog(lines), metrics };
  const config = readModelsConfig(new EnvironmentReader(environment));
  const folders = folderHub({ roots: 'any' });
  const dataDirectory = join(folder.path, name);
  const content = await openModelContent({ dataDirectory, config, shared, folders, ...ports });
  opened.push(content);
  return { content, metrics };
}

/** A content with one file of random-looking bytes, under a name. */
async function named(name: string, seed: number): Promise<readonly [string, ContentFile]> {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * seed) % 251);
  const { digest } = await blobs.put(bytes);
  const file = { name: 'model.safetensors', bytes: bytes.length, digest };
  const { content } = await open(`seal-${name}`, true, { HEDDLE_PREFETCH: 'none' });
  const reference = await content.imports.seal([file]);
  await giveName(name, reference);
  return [reference, file];
}

async function giveName(name: string, content: string): Promise<void> {
  const from = { content, source: content, asked: content, job: 'activation-import-1', info: {} };
  const model = { name, path: content, digest: '0', importedMs: systemClock.now(), import: from };
  await new ModelNames(journal).add(model);
}

const signal = new AbortController().signal;
const listOf = (reference: string) => reference.slice('content:'.length) as BlobDigest;

test('what named models consist of, and what is being uploaded, is kept from gc; a lost list is told and keeps nothing from being collected', async () => {
  const [reference, file] = await named('kept', 3);
  const lost: BlobDigest = `sha256:${'e'.repeat(64)}`;
  await giveName('lost', `content:${lost}`);
  const uploading: BlobDigest = `sha256:${'d'.repeat(64)}`;
  await new Uploads(journal, systemClock).begin([{ ...file, digest: uploading }]);
  const { content } = await open('roots', true, { HEDDLE_PREFETCH: 'none' });

  const roots = new Set(await content.roots());

  assert.deepEqual(roots, new Set([listOf(reference), file.digest, lost, uploading]));
  assert.ok(lines.some(({ fields }) => fields['model'] === 'lost'));
  await new ModelNames(journal).remove('lost');
});

test('in a cluster named models are there before the replica is ready, unless that is switched off; alone they wait for their use', async () => {
  await named('wanted', 5);
  const cluster = await open('cluster', true);
  await cluster.content.prefetch(signal);
  const wanted = cluster.metrics.value('models_wanted_bytes');
  assert.ok(wanted >= 10_000);
  assert.equal(cluster.metrics.value('models_there_bytes'), wanted);

  for (const [name, shared, environment] of [
    ['off', true, { HEDDLE_PREFETCH: 'none' }],
    ['alone', false, {}],
  ] as const) {
    const { content, metrics } = await open(name, shared, environment);
    await content.prefetch(signal);
    assert.equal(metrics.value('models_fetched_bytes_total'), 0, name);
  }
});

test('alone, a model’s file is its blob, and leaves the cache when its name is gone', async () => {
  const [reference] = await named('linked', 7);
  const { content } = await open('linked', false);
  const opened = await content.hub.open(reference);
  const { directory, file } = await opened.realLocation('model.safetensors');
  opened.release?.();
  assert.equal(opened.path, reference);
  assert.equal(statSync(join(directory, file)).nlink, 2);

  await new ModelNames(journal).remove('linked');
  events.publish(NAMES_ANNOUNCED, { type: 'removed', name: 'linked', content: reference });
  await until('the cache lets it go', async () => !existsSync(join(directory, file)));
});

test('a wrong environment is told', () => {
  const read = new EnvironmentReader({
    HEDDLE_MODELS_GIB: '0',
    HEDDLE_PREFETCH: 'some',
    HF_ENDPOINT: 'hub',
  });
  readModelsConfig(read);
  assert.deepEqual(read.problems.map((problem) => problem.split(/[=:]/)[0]).sort(), [
    'HEDDLE_MODELS_GIB',
    'HEDDLE_PREFETCH',
    'HF_ENDPOINT',
  ]);
});
