/** Files on their way here: broken off, cut, wrong, killed; never sent twice, never believed unseen. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';

import type { Clock, ModelSource } from '@heddle/ports';
import { digestOf } from '@heddle/testkit/contracts/blobs-contract';
import { type HubServer, startHub } from '@heddle/testkit/servers/hub-server';
import { MemoryBlobs } from '@heddle/testkit/simulated/memory-blobs';
import { temporaryFolder } from '@heddle/testkit/temporary-folder';
import { hfModels } from '../hf/index.ts';
import { folderHub } from '../hub/index.ts';
import { ModelContents, PartialFiles } from './index.ts';

const COMMIT = 'b'.repeat(40);
const SOURCE = `hf:o/m@${COMMIT}`;
const WEIGHTS = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 13) % 253);
const CONFIG = new TextEncoder().encode('{"model_type":"gpt2"}');
const signal = new AbortController().signal;

let hub: HubServer;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let blobs: MemoryBlobs;
let count = 0;
let sleptMs = 0;
/** Nobody waits: what would be slept is counted. */
const clock: Clock = {
  now: () => sleptMs,
  monotonic: () => sleptMs,
  sleep: async (ms) => {
    sleptMs += ms;
  },
};

before(async () => {
  folder = await temporaryFolder();
  const files = new Map([
    ['config.json', CONFIG],
    ['model.safetensors', WEIGHTS],
  ]);
  hub = await startHub([{ name: 'o/m', commit: COMMIT, files }]);
});
after(async () => {
  await hub.close();
  await folder.remove();
});
beforeEach(() => {
  hub.requests.length = 0;
  hub.fault = () => undefined;
  sleptMs = 0;
  blobs = new MemoryBlobs(clock);
  count++;
});

/** A process that begins: what lies in the folder is all that it knows. */
async function contents(bytesMax = 1e9): Promise<ModelContents> {
  const partials = await PartialFiles.open(`${folder.path}/${count}`, bytesMax);
  const remote = hfModels({ endpoint: hub.endpoint });
  return new ModelContents({
    blobs,
    partials,
    folders: folderHub({ roots: 'any' }),
    remote,
    clock,
    bytesMax,
  });
}

const file = ({ files }: ModelSource, name: string) => {
  const found = files.find((each) => each.name === name);
  assert.ok(found);
  return found;
};
const isBody = (range: string | undefined) => range !== 'bytes=0-0';

test('a download puts every file into the blob store under its SHA-256, and says how far it is', async () => {
  const imports = await contents();
  const model = await imports.list(SOURCE);
  const seen: number[] = [];

  const weights = await imports.bring(model, file(model, 'model.safetensors'), {
    signal,
    onBytes: (bytes) => seen.push(bytes),
  });
  const config = await imports.bring(model, file(model, 'config.json'), { signal });

  assert.equal(weights.digest, digestOf(WEIGHTS));
  assert.deepEqual(await blobs.read(weights.digest), WEIGHTS);
  assert.equal(config.digest, digestOf(CONFIG));
  assert.equal(seen[0], 0);
  assert.equal(seen.at(-1), WEIGHTS.length);
  const reference = await imports.seal([weights, config]);
  assert.deepEqual(
    (await imports.files(reference)).map(({ name }) => name),
    ['config.json', 'model.safetensors'],
  );
  assert.equal(await imports.seal([config, weights]), reference);
});

test('a download that is cut goes on where it was, and no byte is sent twice', async () => {
  let cuts = 0;
  hub.fault = ({ range }) => (isBody(range) && cuts++ < 3 ? { cutAfter: 70_000 } : undefined);
  const imports = await contents();
  const model = await imports.list(SOURCE);

  await imports.bring(model, file(model, 'model.safetensors'), { signal });

  assert.ok(cuts > 3);
  assert.deepEqual(await blobs.read(digestOf(WEIGHTS)), WEIGHTS);
  assert.equal(hub.sentBytes('model.safetensors'), WEIGHTS.length);
});

test('the next process goes on with what a killed one had', async () => {
  const controller = new AbortController();
  hub.fault = ({ range }) => (isBody(range) ? { stallAfter: 100_000 } : undefined);
  const first = await contents();
  const model = await first.list(SOURCE);
  const weights = file(model, 'model.safetensors');
  const onBytes = (bytes: number) => bytes >= 100_000 && controller.abort();
  await assert.rejects(first.bring(model, weights, { signal: controller.signal, onBytes }));
  hub.fault = () => undefined;

  await (await contents()).bring(model, weights, { signal });

  assert.deepEqual(await blobs.read(digestOf(WEIGHTS)), WEIGHTS);
  assert.equal(hub.sentBytes('model.safetensors'), WEIGHTS.length);
});

test('a file that the blob store has is not asked for', async () => {
  const imports = await contents();
  await blobs.put(WEIGHTS);
  const model = await imports.list(SOURCE);

  await imports.bring(model, file(model, 'model.safetensors'), { signal });

  assert.equal(hub.sentBytes('model.safetensors'), 0);
});

test('wrong bytes are asked for once more from the beginning; wrong again is data_loss and nothing is kept', async () => {
  const imports = await contents();
  const model = await imports.list(SOURCE);
  const weights = file(model, 'model.safetensors');
  let garbled = 0;
  hub.fault = ({ range }) => (isBody(range) && garbled++ === 0 ? { garbled: true } : undefined);
  await imports.bring(model, weights, { signal });
  assert.deepEqual(await blobs.read(digestOf(WEIGHTS)), WEIGHTS);

  await blobs.remove(digestOf(WEIGHTS));
  hub.fault = ({ range }) => (isBody(range) ? { garbled: true } : undefined);
  await assert.rejects(imports.bring(model, weights, { signal }), {
    code: 'data_loss',
    message: /sha256:[0-9a-f]{64}, and sha256:[0-9a-f]{64} was announced/,
  });
  assert.equal(await blobs.stat(digestOf(WEIGHTS)), undefined);
  const small = file(model, 'config.json');
  await assert.rejects(imports.bring(model, small, { signal }), {
    code: 'data_loss',
    message: /git:/,
  });
});

test('a server in trouble is asked again after the delay that it names, and not for ever', async () => {
  const imports = await contents();
  const model = await imports.list(SOURCE);
  let refused = 0;
  hub.fault = () => (refused++ < 2 ? { status: 429, headers: { 'retry-after': '40' } } : undefined);
  await imports.bring(model, file(model, 'config.json'), { signal });
  assert.ok(sleptMs >= 80_000);

  hub.fault = () => ({ status: 503 });
  hub.requests.length = 0;
  const down = imports.bring(model, file(model, 'model.safetensors'), { signal });
  await assert.rejects(down, { code: 'unavailable', retryable: true });
  assert.equal(hub.requests.length, 6);
});

test('a model that no replica could hold is refused before a byte of it is fetched, with the numbers', async () => {
  await assert.rejects((await contents(1000)).list(SOURCE), {
    code: 'resource_exhausted',
    retryable: false,
    details: { bytes: WEIGHTS.length + CONFIG.length, limit: 1000 },
  });
  assert.equal(hub.sentBytes('model.safetensors'), 0);
});

async function* pieces(bytes: Uint8Array, size = 50_000) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
const uploaded = (bytes: Uint8Array, name = 'model.safetensors') => ({
  name,
  bytes: bytes.length,
  digest: digestOf(bytes),
});

test('an upload that broke says what is there, and goes on behind it', async () => {
  const imports = await contents();
  const files = [uploaded(WEIGHTS), uploaded(CONFIG, 'config.json')];
  const [weights, config] = await imports.missing(files);
  assert.ok(weights && config);
  assert.equal(weights.there, 0);
  const broken = imports.receive(weights, pieces(WEIGHTS.subarray(0, 120_000)), { signal });
  await assert.rejects(broken, { code: 'unavailable', message: /120000 of 300000/ });
  await imports.receive(config, pieces(CONFIG), { signal });

  const again = await (await contents()).missing(files);
  assert.deepEqual(again, [{ file: files[0], there: 120_000 }]);
  const rest = pieces(WEIGHTS.subarray(120_000));
  await imports.receive({ file: uploaded(WEIGHTS), there: 120_000 }, rest, { signal });

  assert.deepEqual(await imports.missing(files), []);
  assert.deepEqual(await blobs.read(digestOf(WEIGHTS)), WEIGHTS);
});

test('uploaded bytes that are others, or more, than announced are refused and forgotten', async () => {
  const imports = await contents();
  const other = Uint8Array.from(WEIGHTS, (byte) => byte ^ 1);
  const missing = { file: uploaded(WEIGHTS), there: 0 };
  await assert.rejects(imports.receive(missing, pieces(other), { signal }), { code: 'data_loss' });
  const longer = new Uint8Array(WEIGHTS.length + 1);
  await assert.rejects(imports.receive(missing, pieces(longer), { signal }), { code: 'data_loss' });

  assert.deepEqual(await imports.missing([uploaded(WEIGHTS)]), [missing]);
  await assert.rejects(imports.seal([uploaded(WEIGHTS)]), { code: 'failed_precondition' });
});

test('two uploads of one file at the same time do not mix: the second is told to ask again', async () => {
  const imports = await contents();
  const missing = { file: uploaded(WEIGHTS), there: 0 };
  const gate = Promise.withResolvers<void>();
  async function* slow() {
    yield WEIGHTS.subarray(0, 10);
    await gate.promise;
    yield WEIGHTS.subarray(10);
  }
  const first = imports.receive(missing, slow(), { signal });
  await assert.rejects(imports.receive(missing, pieces(WEIGHTS), { signal }), { code: 'aborted' });
  gate.resolve();
  await first;
  assert.deepEqual(await blobs.read(digestOf(WEIGHTS)), WEIGHTS);
});

test('lists that are no model are refused: code, paths, pickles, doubles, sizes, digests', async () => {
  const imports = await contents();
  const digest = digestOf(CONFIG);
  const one = (name: string, bytes = 5) => [{ name, bytes, digest }];
  for (const name of [
    'evil.py',
    '../config.json',
    'a/b.safetensors',
    'w.bin',
    '.safetensors',
    'x.safetensors.exe',
  ]) {
    await assert.rejects(imports.missing(one(name)), { code: 'invalid_argument' }, name);
  }
  await assert.rejects(imports.missing([...one('config.json'), ...one('config.json')]), {
    code: 'invalid_argument',
  });
  await assert.rejects(imports.missing(one('config.json', 1e9)), { code: 'resource_exhausted' });
  await assert.rejects(imports.missing(one('config.json', -1)), { code: 'resource_exhausted' });
  await assert.rejects(imports.missing([]), { code: 'invalid_argument' });
  const wrong = [{ name: 'config.json', bytes: 5, digest: 'sha256:x' as const }];
  await assert.rejects(imports.missing(wrong), { code: 'invalid_argument' });
  const { digest: blob } = await blobs.put(new TextEncoder().encode('{"files":[{"name":"../x"}]}'));
  await assert.rejects(imports.files(`content:${blob}`), { code: 'data_loss' });
  const none = createHash('sha256').update('none').digest('hex');
  await assert.rejects(imports.files(`content:sha256:${none}`), { code: 'not_found' });
  await assert.rejects(imports.files('content:../x'), { code: 'invalid_argument' });
});
