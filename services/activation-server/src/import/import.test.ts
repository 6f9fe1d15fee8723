/** Models come into the blob store and get names: jobs, uploads, what goes wrong, and what stays behind then. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import {
  CONTENT_METRICS,
  ContentCache,
  contentHub,
  ModelContents,
  PartialFiles,
} from '@heddle/adapters/content';
import { LocalEvents } from '@heddle/adapters/events';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { hfModels } from '@heddle/adapters/hf';
import { folderHub, loadConfig, loadModel, programOf } from '@heddle/adapters/hub';
import { openSqlite } from '@heddle/adapters/sqlite';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import type { Engine, Handlers, Init, Unary } from '@heddle/ports';
import type {
  ActivationService,
  UploadModelRequest,
  UploadModelResponse,
} from '@heddle/ports/proto/activation';
import {
  CountingMetrics,
  type HubServer,
  silentLog,
  startHub,
  temporaryFolder,
  until,
} from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { createService } from '../index.ts';

const SIZES = { n_layer: 1, n_head: 2, n_embd: 16, vocab_size: 300, n_positions: 16 };
const COMMIT = '7'.repeat(40);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let hub: HubServer;
let model: string;
const closers: (() => Promise<unknown>)[] = [];

before(async () => {
  folder = await temporaryFolder();
  model = join(folder.path, 'model');
  await writeRandomModel(model, gpt2Config(SIZES), 1);
  const read = async (name: string) => [name, await readFile(join(model, name))] as const;
  const files = new Map<string, Uint8Array>([
    await read('config.json'),
    await read('model.safetensors'),
  ]);
  const broken = new Map(files).set('model.safetensors', withNaN(files.get('model.safetensors')));
  hub = await startHub([
    { name: 'o/good', commit: COMMIT, files },
    { name: 'o/broken', commit: COMMIT, files: broken },
    {
      name: 'o/pickled',
      commit: COMMIT,
      files: new Map([...files].slice(0, 1)).set('pytorch_model.bin', Buffer.alloc(9)),
    },
  ]);
});
afterEach(() => {
  hub.fault = () => undefined;
  hub.requests.length = 0;
});
after(async () => {
  for (const close of closers.reverse()) await close();
  await hub.close();
  await folder.remove();
});

function withNaN(bytes: Uint8Array = new Uint8Array()): Uint8Array {
  const file = readSafetensors('model.safetensors', Uint8Array.from(bytes));
  const tensors = Object.fromEntries(file.names().map((name) => [name, file.tensor(name)]));
  const [first] = Object.values(tensors);
  (first?.data as Float32Array)[3] = Number.NaN;
  return writeSafetensors(tensors);
}

/** One replica with stores of its own. */
async function open(name: string, { shared = true, bytesMax = 1e9 } = {}) {
  const data = join(folder.path, name);
  await mkdir(data);
  const clock = systemClock;
  const { journal, queue, close } = openSqlite(join(data, 'heddle.sqlite'), { clock });
  const blobs = await DirectoryBlobs.open(join(data, 'blobs'));
  const metrics = new CountingMetrics();
  metrics.register(CONTENT_METRICS);
  const events = new LocalEvents();
  const ports = { journal, queue, blobs, clock, log: silentLog, metrics };
  const jobs = new JobRuntime({ ...ports, events });
  const cache = await ContentCache.open({ directory: join(data, 'models'), bytesMax, ...ports });
  const folders = folderHub({ roots: [folder.path] });
  const partials = await PartialFiles.open(join(data, 'partial'), bytesMax);
  const remote = hfModels({ endpoint: hub.endpoint });
  const imports = new ModelContents({ blobs, partials, folders, remote, clock, bytesMax });
  const service = await createService({
    ...ports,
    jobs,
    hub: contentHub({ folders, cache, shared }),
    engine: {} as Engine,
    store: { config: loadConfig, load: loadModel, program: programOf },
    openTokenizer: async () => undefined,
    distribution: { imports, events, shared },
    bundledModel: model,
    versions: {},
  });
  for (const kind of service.jobKinds) jobs.register(kind);
  await jobs.start();
  closers.push(async () => {
    await jobs.stop(0);
    await cache.close();
    await close();
  });
  return { activation: callable(service.handlers.activation ?? {}), jobs, blobs, imports };
}

const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };
type Methods = Handlers<ActivationService>;
type Asked<M> = M extends Unary<infer Q, infer A> ? (request: Init<Q>) => Promise<Init<A>> : never;

/** The handlers, called as a client does. */
function callable(handlers: Methods) {
  const unary = <
    K extends 'StartImportModel' | 'ImportModel' | 'DescribeModel' | 'RemoveModel' | 'ListModels',
  >(
    name: K,
  ) =>
    (async (request: object) => {
      const method = handlers[name] as (request: object, context: object) => Promise<object>;
      return method({ source: '', name: '', client_key: '', ...request }, call);
    }) as Asked<ActivationService[K]>;
  return {
    start: unary('StartImportModel'),
    importModel: unary('ImportModel'),
    describe: unary('DescribeModel'),
    remove: unary('RemoveModel'),
    list: unary('ListModels'),
    async upload(parts: AsyncIterable<UploadModelRequest>): Promise<Init<UploadModelResponse>[]> {
      const replies: Init<UploadModelResponse>[] = [];
      for await (const part of handlers.UploadModel?.(parts, call) ?? []) replies.push(part);
      return replies;
    },
  };
}

type World = Awaited<ReturnType<typeof open>>;

async function imported(
  { activation, jobs }: World,
  request: Parameters<World['activation']['start']>[0],
) {
  const { job } = await activation.start(request);
  return jobs.wait(job?.id ?? '');
}

test('an import pins the revision, names the model with all that was learnt, and keeps its blobs through gc', async () => {
  const world = await open('import');
  const job = await imported(world, { source: 'hf:o/good@main' });

  assert.equal(job.status, 'completed', job.error?.message);
  assert.equal(job.pinned, true);
  const { model: info } = await world.activation.describe({ model: 'good' });
  assert.equal(info?.source, `hf:o/good@${COMMIT}`);
  assert.equal(info?.family, 'gpt2');
  assert.equal(info?.path, info?.content);
  await world.jobs.gc({ everything: true } as object);
  for (const { digest } of await world.imports.files(info?.content ?? '')) {
    assert.ok(await world.blobs.stat(digest), digest);
  }
  assert.deepEqual(
    (await world.activation.list({})).models?.map(({ name }) => name),
    ['bundled', 'good'],
  );
});

test('who asks the same gets the same job; after the name is gone, a new one, and the old blobs are free', async () => {
  const world = await open('again');
  const first = await imported(world, { source: 'hf:o/good' });
  assert.equal((await imported(world, { source: 'hf:o/good' })).id, first.id);
  assert.equal((await imported(world, { source: `hf:o/good@${COMMIT}` })).status, 'completed');

  await world.activation.remove({ name: 'good' });
  assert.equal((await world.jobs.get(first.id)).pinned, false);
  hub.requests.length = 0;
  const second = await imported(world, { source: 'hf:o/good' });
  assert.notEqual(second.id, first.id);
  assert.equal(second.status, 'completed');
  assert.equal(hub.sentBytes('model.safetensors'), 0, 'the blobs were there still');
});

test('what a hub has no model of, or nobody is given, is refused before there is a job', async () => {
  const { activation, jobs } = await open('refused');
  await assert.rejects(activation.start({ source: 'hf:o/none' }), { code: 'not_found' });
  await assert.rejects(activation.start({ source: 'hf:o/good', name: 'no name' }), {
    field: 'name',
  });
  await assert.rejects(activation.start({ source: '' }), { field: 'source' });
  const nameless = { source: `content:sha256:${'0'.repeat(64)}` };
  await assert.rejects(activation.start(nameless), { field: 'name', message: /none of its own/ });
  await assert.rejects(activation.start({ source: 'hf:nonsense' }), { code: 'invalid_argument' });
  assert.equal((await jobs.list()).jobs.length, 0);
});

test('a name that is another model’s is refused before a byte is fetched', async () => {
  const world = await open('taken');
  await imported(world, { source: 'hf:o/good', name: 'mine' });
  hub.requests.length = 0;
  await assert.rejects(world.activation.start({ source: 'hf:o/broken', name: 'mine' }), {
    code: 'already_exists',
    message: /mine is hf:o\/good@7+ already/,
  });
  assert.equal(hub.sentBytes('model.safetensors'), 0);
});

test('a model that cannot be right fails its job, is not named, and keeps nothing from gc', async () => {
  const world = await open('broken');
  const job = await imported(world, { source: 'hf:o/broken' });
  assert.equal(job.status, 'failed');
  assert.match(job.error?.message ?? '', /NaN or infinite/);
  assert.equal(job.pinned, false);
  await assert.rejects(world.activation.describe({ model: 'broken' }), { code: 'not_found' });

  const pickled = await imported(world, { source: 'hf:o/pickled' });
  assert.match(
    pickled.error?.message ?? '',
    /pytorch_model\.bin is not read, save it as safetensors/,
  );
});

test('a cancelled import stops at once and names nothing', async () => {
  const world = await open('cancelled');
  hub.fault = ({ part, range }) =>
    part === 'cdn' && range !== 'bytes=0-0' ? { stallAfter: 1000 } : undefined;
  const { job } = await world.activation.start({ source: 'hf:o/good' });
  const id = job?.id ?? '';
  await until('the download', async () => hub.sentBytes('model.safetensors') > 0);

  await world.jobs.cancel(id);
  assert.equal((await world.jobs.wait(id)).status, 'cancelled');
  await assert.rejects(world.activation.describe({ model: 'good' }), { code: 'not_found' });
  hub.fault = () => undefined;
  assert.equal((await imported(world, { source: 'hf:o/good' })).status, 'completed');
});

test('a model larger than replicas may hold is refused with the numbers', async () => {
  const world = await open('large', { bytesMax: 5000 });
  const job = await imported(world, { source: 'hf:o/good' });
  assert.equal(job.status, 'failed');
  assert.equal(job.error?.code, 'resource_exhausted');
  assert.equal(job.error?.details?.['limit'], 5000);
});

test('alone, a folder is used in place; where stores are shared, it is brought to all', async () => {
  const alone = await open('alone', { shared: false });
  const { model: inPlace } = await alone.activation.importModel({ source: model, name: 'm' });
  assert.deepEqual([inPlace?.path, inPlace?.content ?? ''], [model, '']);
  assert.equal((await imported(alone, { source: 'hf:o/good' })).status, 'completed');

  const shared = await open('shared');
  const { model: brought } = await shared.activation.importModel({ source: model, name: 'm' });
  assert.match(brought?.content ?? '', /^content:sha256:/);
  assert.equal(brought?.digest, inPlace?.digest);
  const again = await shared.activation.importModel({ source: model, name: 'm' });
  assert.deepEqual(again.model, brought, 'asked for again it is the same model');
  const { model: fetched } = await shared.activation.importModel({
    source: 'hf:o/good',
    name: 'n',
  });
  assert.equal(fetched?.content, brought?.content, 'the same files are the same content');
});

async function* partsOf(...parts: UploadModelRequest[]) {
  yield* parts;
}
const uploadFile = (name: string, bytes: Uint8Array) => ({
  name,
  bytes: bytes.length,
  digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
});

test('an upload tells what is missing, how far it is, and what to import', async () => {
  const world = await open('upload');
  const config = await readFile(join(model, 'config.json'));
  const weights = await readFile(join(model, 'model.safetensors'));
  const files = [uploadFile('config.json', config), uploadFile('model.safetensors', weights)];
  const [c, w] = files;
  assert.ok(c && w);
  const sent = partsOf(
    { manifest: { files } },
    { file: w },
    { data: weights.subarray(0, 9999) },
    { data: weights.subarray(9999) },
    { file: c },
    { data: config },
  );

  const [first, ...rest] = await world.activation.upload(sent);

  const bytes = config.length + weights.length;
  assert.deepEqual(first?.missing, { names: [c.name, w.name], bytes, there: [0, 0] });
  assert.deepEqual(
    rest.map(({ received_bytes }) => received_bytes),
    [weights.length, bytes, undefined],
  );
  const source = rest.at(-1)?.source ?? '';
  const job = await imported(world, { source, name: 'uploaded' });
  assert.equal(job.status, 'completed', job.error?.message);
  const again = await world.activation.upload(partsOf({ manifest: { files } }));
  assert.deepEqual(again, [{ missing: { names: [], bytes: 0, there: [] } }, { source }]);
});

test('an upload out of order, of what was not announced, or that stops early is refused and names nothing', async () => {
  const world = await open('wrong-upload');
  const { activation } = world;
  const bytes = new Uint8Array(100);
  const file = uploadFile('model.safetensors', bytes);
  const manifest = { files: [file] };
  const wrong: readonly (readonly [UploadModelRequest[], RegExp | string])[] = [
    [[{ file }], /first part is the manifest/],
    [[{ manifest }, { data: bytes }], /behind the file/],
    [[{ manifest }, { file: uploadFile('config.json', bytes) }], /none of the missing/],
    [[{ manifest }], 'failed_precondition'],
    [[{ manifest }, { file }, { data: bytes.subarray(1) }], 'unavailable'],
    [[{ manifest }, { file }, { data: new Uint8Array(2 ** 20 + 1) }], /at most 1048576/],
    [[{ manifest: { files: [uploadFile('../x.safetensors', bytes)] } }], /no file of a model/],
  ];
  for (const [parts, why] of wrong) {
    const check =
      typeof why === 'string' ? { code: why } : { code: 'invalid_argument', message: why };
    await assert.rejects(activation.upload(partsOf(...parts)), check, String(why));
  }
  const nothing = `content:sha256:${'0'.repeat(64)}`;
  const job = await imported(world, { source: nothing, name: 'x' });
  assert.equal(job.error?.code, 'not_found');
});

test('a folder that changes after it was brought changes no model: the content names bytes', async () => {
  const world = await open('renamed');
  const other = join(folder.path, 'other');
  await mkdir(other);
  for (const name of ['config.json', 'model.safetensors']) {
    await writeFile(join(other, name), await readFile(join(model, name)));
  }
  const { model: brought } = await world.activation.importModel({ source: other, name: 'x' });
  await writeFile(join(other, 'model.safetensors'), 'changed');
  const { model: described } = await world.activation.describe({ model: 'x' });
  assert.equal(described?.digest, brought?.digest);
});
