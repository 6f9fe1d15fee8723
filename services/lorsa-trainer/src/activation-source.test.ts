import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationError } from '@heddle/core';
import type { BlobDigest } from '@heddle/ports';
import type { Job } from '@heddle/ports/proto/common';
import { MemoryBlobs, VirtualClock } from '@heddle/testkit';
import { type RemoteDeps, remoteActivations } from './activation-source.ts';
import { LayerShards } from './layer-shards.ts';
import { syntheticLayer } from './synthetic-layer.ts';
import { trainRequest } from './training-fixture.ts';

const { host, activations } = syntheticLayer(3);
const hooks = [host.hookIn, host.hookOut];
const signal = new AbortController().signal;
const prompts = Array.from({ length: 20 }, (_, i) => ({ tokens: [0, 1 + i, 2, 3] }));

const DONE = { id: 'cache-1', kind: 'activation.cache', state: 'JOB_STATE_SUCCEEDED', error: null };

/** An activation server whose blobs are its own, and its jobs. */
async function server(ended: object = {}) {
  const there = new MemoryBlobs(new VirtualClock());
  const source = activations(there, 6);
  const data = { ...trainRequest().data, prompts };
  const pass = await source.start({ model: 'm', hooks: [...hooks, host.hookIn], data, context: 4 });
  const { digest } = await source.finished(pass);
  const asked: Record<string, unknown>[] = [];
  const read: string[] = [];
  const job = { ...DONE, progress: { done: 3, total: 9, unit: 'tokens' }, ...ended };
  const deps = {
    activation: {
      StartCacheActivations: async (request: Record<string, unknown>) => {
        asked.push(request);
        return { job: { id: 'cache-1' } };
      },
    },
    jobs: {
      async *Watch() {
        yield { job };
      },
      Result: async () => ({
        job,
        summary_json: '{}',
        artifacts: [{ name: 'activations.json', digest }],
        provenance: null,
      }),
      async *ReadArtifact({ name }: { name: BlobDigest }) {
        read.push(name);
        const bytes = await there.read(name);
        yield { artifact: null };
        yield { data: bytes.subarray(0, 10) };
        yield { data: bytes.subarray(10) };
      },
    },
  } as unknown as Pick<RemoteDeps, 'activation' | 'jobs'>;
  return { deps, there, asked, read, digest };
}

test('the question is asked as it is; without text it is the generated one, and named activations ask nothing', async () => {
  const { deps, there, asked } = await server();
  const source = remoteActivations({ ...deps, blobs: there });
  const ask = (data: object) =>
    source.start(
      { model: 'm', hooks, context: 16, data: { ...trainRequest().data, ...data } },
      signal,
    );
  assert.equal(await ask({ corpus: '/c', tokens_max: 7 }), 'cache-1');
  assert.equal(await ask({ prompts: prompts.slice(0, 1) }), 'cache-1');
  assert.equal(await ask({}), 'cache-1');
  assert.equal(await ask({ activations: 'theirs' }), 'theirs');
  const [corpus = {}, given = {}, generated = {}] = asked;
  assert.deepEqual(
    [corpus['corpus'], corpus['prompts'], corpus['tokens_max'], corpus['context']],
    ['/c', [], 7, 16],
  );
  assert.deepEqual(given['prompts'], [{ tokens: { ids: [0, 1, 2, 3] } }]);
  assert.ok((generated['prompts'] as unknown[]).length >= 100);
  assert.equal(asked.length, 3);
});

test('activations that are here are not copied; those of another process are, once', async () => {
  const { deps, there, read, digest } = await server();
  const progress: string[] = [];
  const onProgress = ({ unit }: { unit: string }) => progress.push(unit);
  const here = remoteActivations({ ...deps, blobs: there });
  assert.deepEqual(await here.finished('cache-1', { signal, hooks, onProgress }), {
    job: 'cache-1',
    digest,
  });
  assert.deepEqual([read, progress], [[], ['tokens']]);

  const own = new MemoryBlobs(new VirtualClock());
  const elsewhere = remoteActivations({ ...deps, blobs: own });
  await elsewhere.finished('cache-1', { signal, hooks, onProgress });
  const shards = await LayerShards.open(own, digest, host);
  for (const shard of shards.manifest.shards) await shards.read(shard);
  const first = read.length;
  assert.ok(first > 3 && progress.includes('shards'));
  await elsewhere.finished('cache-1', { signal, hooks });
  assert.equal(read.length, first);
});

test('a copy that stopped half way goes on, and other hooks of the same pass come too', async () => {
  const { deps, digest } = await server();
  const own = new MemoryBlobs(new VirtualClock());
  const stopped = new AbortController();
  let copied = 0;
  const put = async (content: Parameters<typeof own.put>[0]) => {
    if (++copied === 4) stopped.abort(new Error('stopped'));
    stopped.signal.throwIfAborted();
    return own.put(content);
  };
  const blobs = Object.assign(Object.create(own) as typeof own, { put });
  const one = remoteActivations({ ...deps, blobs });
  const asked = { signal, hooks: [host.hookIn] };
  await assert.rejects(one.finished('cache-1', asked), /stopped/);
  assert.equal(copied, 4, 'the manifest and two more blobs are here');

  const again = remoteActivations({ ...deps, blobs: own });
  await again.finished('cache-1', asked);
  const shards = await LayerShards.open(own, digest, host);
  for (const shard of shards.manifest.shards) await shards.tokens(shard);
  await again.finished('cache-1', { signal, hooks });
  for (const shard of shards.manifest.shards) await shards.read(shard);
});

test('a pass that failed gives its own error, and another kind of job is refused', async () => {
  const finished = async (ended: Partial<Job>) => {
    const { deps, there } = await server(ended);
    return remoteActivations({ ...deps, blobs: there }).finished('cache-1', { signal, hooks });
  };
  const error = { code: 'resource_exhausted', message: 'too much text', field: 'corpus' };
  await assert.rejects(
    finished({ state: 'JOB_STATE_FAILED', error: { ...error, retryable: false } as never }),
    (thrown: OperationError) => {
      assert.deepEqual([thrown.code, thrown.field], ['resource_exhausted', 'data.corpus']);
      assert.match(thrown.message, /capturing activations.*too much text/);
      return true;
    },
  );
  for (const ended of [{ state: 'JOB_STATE_CANCELLED' }, { kind: 'lorsa.train' }] as const) {
    await assert.rejects(
      finished(ended),
      (thrown: OperationError) =>
        thrown.code === 'failed_precondition' && thrown.field === 'data.activations',
    );
  }
});
