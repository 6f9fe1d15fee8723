/** A model added once reaches every replica: real processes with folders of their own, a real NATS server, a blob store that they share. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, type Heddle, uploadModel } from '@heddle/client';
import {
  type Cluster,
  type ClusterProcess,
  type HubServer,
  missingServer,
  SERVERS,
  startCluster,
  startHub,
  temporaryFolder,
  until,
} from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';

const COMMIT = '5'.repeat(40);
/** On a machine that does much else. */
const PATIENT = { withinMs: 60_000 };
const SIZES = { n_layer: 2, n_head: 4, n_embd: 256, vocab_size: 6000, n_positions: 64 };
const missing = missingServer(SERVERS.natsCurrent) ?? missingServer(SERVERS.s3);
const options = missing === undefined ? {} : { skip: missing };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let hub: HubServer;
let cluster: Cluster;
let weights: Buffer;
const clients: Heddle[] = [];

before(async () => {
  if (missing !== undefined) return;
  folder = await temporaryFolder();
  for (const seed of [1, 2]) await writeRandomModel(pathOf(seed), gpt2Config(SIZES), seed);
  weights = readFileSync(join(pathOf(1), 'model.safetensors'));
  const names = ['config.json', 'model.safetensors'];
  const files = new Map(names.map((name) => [name, readFileSync(join(pathOf(1), name))]));
  hub = await startHub([{ name: 'o/random', commit: COMMIT, files, tags: ['v1'] }]);
  cluster = await startCluster({
    processes: [{ services: ['activation'], name: 'first' }],
    blobs: 's3',
    ackWaitMs: 1_000,
    env: { HF_ENDPOINT: hub.endpoint },
  });
});

after(async () => {
  for (const client of clients) client.close();
  await cluster?.remove();
  await hub?.close();
  await folder?.remove();
});

const pathOf = (seed: number) => join(folder.path, `random-${seed}`);
const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

function clientOf({ address }: ClusterProcess): Heddle {
  const client = connect(address);
  clients.push(client);
  return client;
}

/** Bytes of the largest file on its way to a process. */
function partialBytes({ data }: ClusterProcess): number {
  const partial = join(data, 'partial');
  const sizes = readdirSync(partial).map((name) => statSync(join(partial, name)).size);
  return Math.max(0, ...sizes);
}

/** Where a process has a model's weights. */
function cachedWeights({ data }: ClusterProcess): string[] {
  const files = join(data, 'models', 'files');
  return readdirSync(files).map((hex) => join(files, hex, 'model.safetensors'));
}

async function logits(heddle: Heddle, model: string): Promise<string> {
  const prompts = [{ tokens: { ids: [1, 2, 3, 5999] } }];
  const { tensors } = await heddle.collectRun({ model, prompts, hooks: ['logits'], alone: true });
  const { data } = tensors[0]?.tensor ?? assert.fail('no logits');
  return digestOf(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

test(
  'a download survives kill -9 of who downloads: it goes on where it was, and no byte is sent twice',
  options,
  async () => {
    const first = cluster.process('first');
    const half = weights.length >> 1;
    hub.fault = ({ part, range }) =>
      part === 'cdn' && range !== 'bytes=0-0' ? { stallAfter: half } : undefined;
    const { job } = await clientOf(first).activation.StartImportModel({ source: 'hf:o/random@v1' });
    await until('half of the weights', async () => partialBytes(first) === half, PATIENT);

    await first.kill('SIGKILL');
    hub.fault = () => undefined;
    await first.start();
    const heddle = clientOf(first);
    const ended = await heddle.waitForJob(job?.id ?? '');

    assert.equal(ended.state, 'JOB_STATE_SUCCEEDED', ended.error?.message);
    assert.equal(hub.sentBytes('model.safetensors'), weights.length);
    const { model } = await heddle.activation.DescribeModel({ model: 'random' });
    assert.equal(model?.source, `hf:o/random@${COMMIT}`);
    assert.match(model?.content ?? '', /^content:sha256:[0-9a-f]{64}$/);
    for (const asked of ['hf:o/random', 'hf:o/random@v1', `hf:o/random@${COMMIT}`]) {
      const { model } = await heddle.activation.DescribeModel({ model: asked });
      assert.equal(model?.name, 'random', asked);
    }
    await assert.rejects(heddle.activation.DescribeModel({ model: 'hf:o/random@v2' }), {
      code: 'not_found',
      message: /heddle model add hf:o\/random@v2/,
    });
  },
);

test(
  'an upload survives kill -9 of the server: what came stays, the rest is sent, and it is the same model',
  options,
  async () => {
    const first = cluster.process('first');
    const bytes = statSync(join(pathOf(2), 'model.safetensors')).size;
    const totals: number[] = [];
    let killed: Promise<void> | undefined;
    const { source } = await uploadModel(clientOf(first).activation, pathOf(2), {
      onProgress: (sent, total, what) => {
        if (what === 'hashed') return;
        if (totals.at(-1) !== total) totals.push(total);
        if (sent > bytes / 2) killed ??= first.restart();
      },
    });
    await killed;

    assert.ok(killed, 'the server was killed in mid upload');
    assert.equal(totals[0], bytes, 'the config is the same file as the first model has');
    assert.ok((totals.at(-1) ?? bytes) < bytes, `${totals}: what had come is not sent again`);
    const heddle = clientOf(first);
    const { job } = await heddle.activation.StartImportModel({ source, name: 'uploaded' });
    const ended = await heddle.waitForJob(job?.id ?? '');
    assert.equal(ended.state, 'JOB_STATE_SUCCEEDED', ended.error?.message);
    const again = await uploadModel(heddle.activation, pathOf(2));
    assert.deepEqual(again, { source, sentBytes: 0 });
  },
);

test(
  'another replica, and another service, with nothing but the blob store in common, compute the same',
  options,
  async () => {
    await cluster.add({ services: ['activation'], name: 'second' });
    await cluster.add({ services: ['attribution'], name: 'why' });
    const [second, why] = [cluster.process('second'), cluster.process('why')];

    const metrics = await second.metrics();
    const wanted = Number(/^models_wanted_bytes (\d+)/m.exec(metrics)?.[1]);
    assert.ok(wanted > 2 * weights.length);
    assert.equal(
      Number(/^models_there_bytes (\d+)/m.exec(metrics)?.[1]),
      wanted,
      'ready means there',
    );
    assert.deepEqual(
      cachedWeights(second).map((path) => readFileSync(path).length),
      [weights.length, weights.length],
    );
    const [one, two] = [clientOf(cluster.process('first')), clientOf(second)];
    for (const model of ['random', 'uploaded']) {
      assert.equal(await logits(two, model), await logits(one, model), model);
    }
    assert.notEqual(await logits(two, 'random'), await logits(two, 'uploaded'));

    const prompt = { tokens: { ids: [1, 2, 3] } };
    const asked = clientOf(why);
    const { job } = await asked.attribution.StartWhy({ model: 'random', prompt, logit: {} });
    const ended = await asked.waitForJob(job?.id ?? '');
    assert.equal(ended.state, 'JOB_STATE_SUCCEEDED', ended.error?.message);
  },
);

test(
  'a model that is added later is announced: replicas fetch it before anybody asks them',
  options,
  async () => {
    const second = cluster.process('second');
    const before = cachedWeights(second).length;
    await writeRandomModel(pathOf(3), gpt2Config({ ...SIZES, n_layer: 1 }), 3);
    const heddle = clientOf(cluster.process('first'));
    const { source } = await uploadModel(heddle.activation, pathOf(3));
    const { job } = await heddle.activation.StartImportModel({ source, name: 'later' });
    await heddle.waitForJob(job?.id ?? '');

    await until(
      'the second replica has it',
      async () => {
        const metrics = await second.metrics();
        const of = (name: string) => new RegExp(`^${name} (\\d+)`, 'm').exec(metrics)?.[1];
        return (
          cachedWeights(second).length > before &&
          of('models_there_bytes') === of('models_wanted_bytes')
        );
      },
      PATIENT,
    );

    await clientOf(second).activation.RemoveModel({ name: 'later' });
    await until(
      'and lets it go with its name',
      async () => cachedWeights(second).length === before,
      PATIENT,
    );
  },
);

test('a cache that rotted while its process was down is fetched again', options, async () => {
  const second = cluster.process('second');
  const expected = await logits(clientOf(second), 'random');
  await second.kill('SIGKILL');
  const [path = ''] = cachedWeights(second).filter(
    (each) => digestOf(readFileSync(each)) === digestOf(weights),
  );
  writeFileSync(path, Buffer.alloc(weights.length));
  await second.start();

  assert.equal(await logits(clientOf(second), 'random'), expected);
  assert.equal(digestOf(readFileSync(path)), digestOf(weights));
});

test(
  'a folder that a replica does not see is refused in words that say what to do',
  options,
  async () => {
    const heddle = clientOf(cluster.process('second'));
    await assert.rejects(heddle.activation.DescribeModel({ model: '/nowhere/model' }), {
      code: 'not_found',
      message: /heddle model add \/nowhere\/model/,
    });
  },
);
