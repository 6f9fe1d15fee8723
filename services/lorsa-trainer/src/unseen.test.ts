import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type OperationError, Rng } from '@heddle/core';
import { initialiseLevelA, initialState, type LorsaConfig } from '@heddle/interp/lorsa';
import { type BlobDigest, encodeOutcome, type JobArtifact } from '@heddle/ports';
import { MemoryBlobs, VirtualClock } from '@heddle/testkit';
import { writeCheckpoint } from './checkpoint-files.ts';
import { LayerShards } from './layer-shards.ts';
import { syntheticLayer } from './synthetic-layer.ts';
import type { DataRequest } from './train-request.ts';
import { trainedDocuments } from './trained-documents.ts';
import { trainRequest } from './training-fixture.ts';
import { openUnseen, type Unseen, type UnseenDeps } from './unseen.ts';

const { host, activations } = syntheticLayer(4);
const prompts = Array.from({ length: 40 }, (_, i) => {
  const rng = new Rng(i);
  return { tokens: [0, ...Array.from({ length: 11 }, () => 1 + rng.below(63))] };
});
const hashOf = (tokens: readonly number[]) =>
  createHash('sha256').update(JSON.stringify(tokens)).digest().readBigUInt64BE(0);
const dataOf = (data: Partial<DataRequest>): DataRequest => ({ ...trainRequest().data, ...data });
const context = {
  signal: new AbortController().signal,
  pulse: async () => {},
  progress: () => {},
};

const config: LorsaConfig = {
  ...{ d_model: host.d_model, n_ov_heads: 8, n_qk_heads: 2, d_qk_head: 8, n_ctx: 8, topK: 2 },
  ...{ activation: 'topk', signed: false, decoderNormInGate: true, useDecoderBias: true },
  ...{ attnScale: host.attnScale, rotary: host.rotary, qkNormEps: undefined },
};

/** A checkpoint as a finished training leaves it, `provenance` added to its own. */
async function setUp(provenance: Record<string, string> = {}, list = true) {
  const blobs = new MemoryBlobs(new VirtualClock());
  const source = activations(blobs, 7);
  const hooks = [host.hookIn, host.hookOut];
  const data = dataOf({ prompts });
  const job = await source.start({ model: 'm', hooks, data, context: 8 });
  const { digest } = await source.finished(job);
  const shards = await LayerShards.open(blobs, digest, host);
  const rng = new Rng(1);
  const state = initialState(config, initialiseLevelA(config, rng), {
    epochRng: rng.snapshot(),
    norms: { input: 1, output: 1 },
  });
  const own = { model: 'm', model_digest: host.modelDigest, activations: digest };
  const { weights } = writeCheckpoint(host, state, { ...own, ...provenance });
  const files: [string, Uint8Array][] = [['checkpoint.safetensors', weights]];
  if (list) files.push(['documents.bin', await trainedDocuments(shards)]);
  const artifacts: JobArtifact[] = [];
  for (const [name, content] of files) {
    const put = await blobs.put(content);
    artifacts.push({
      name,
      digest: put.digest,
      bytes: put.bytes,
      mediaType: 'application/octet-stream',
    });
  }
  const deps: UnseenDeps = {
    blobs,
    hub: { open: () => assert.fail('no folder is needed') },
    activations: source,
    jobResult: async () => encodeOutcome({ summary: {}, artifacts }),
    modelDigest: async (model) => (model === 'm' ? host.modelDigest : 'sha256:another'),
  };
  const open = (text: Partial<DataRequest> = {}, model = '') =>
    openUnseen(deps, context, { checkpoint: 'job-1', model, data: dataOf(text) });
  return { open, source, blobs, digest: digest as BlobDigest };
}

async function documents(unseen: Unseen): Promise<ReadonlySet<bigint>> {
  const found = new Set<bigint>();
  for await (const shard of unseen.shards()) for (const one of shard.documents) found.add(one);
  return found;
}

test('without text it is the held-out tenth of the training’s own, and no pass is made', async () => {
  const { open, source } = await setUp();
  const unseen = await open();
  assert.deepEqual([unseen.source, unseen.trainedOnKnown, unseen.leftOut], ['held-out', true, 0]);
  assert.equal(source.passes, 1);
  assert.deepEqual(
    await documents(unseen),
    new Set(prompts.slice(36).map(({ tokens }) => hashOf(tokens))),
  );
  assert.equal(unseen.documents, 4);
});

test('of given text the documents that were trained on are left out and counted', async () => {
  const { open } = await setUp();
  const fresh = { tokens: [0, 7, 7, 7, 7] };
  const unseen = await open({ prompts: [prompts[3]!, fresh, prompts[39]!, prompts[5]!] });
  assert.equal(unseen.source, 'given');
  assert.equal(unseen.leftOut, 2);
  assert.deepEqual(
    await documents(unseen),
    new Set([hashOf(fresh.tokens), hashOf(prompts[39]!.tokens)]),
  );
  let tokens = 0;
  for await (const shard of unseen.shards()) {
    const [batch = 0, pos = 0] = shard.valid.shape;
    assert.deepEqual(shard.x.shape, [batch, pos, host.d_model]);
    assert.equal(shard.tokens.length, batch * pos);
    tokens += shard.valid.data.reduce((sum, v) => sum + v, 0);
  }
  assert.equal(unseen.tokens, tokens);
  assert.notEqual(unseen.dataDigest, (await open()).dataDigest);
});

test('a row’s values are those of its own tokens when others of its shard are left out', async () => {
  const { open } = await setUp();
  const fresh = { tokens: [0, 9, 11, 13] };
  const unseen = await open({ prompts: [prompts[3]!, prompts[4]!, fresh, prompts[5]!] });
  const { values } = syntheticLayer(4);
  for await (const shard of unseen.shards()) {
    assert.deepEqual([...shard.tokens.slice(0, 4)], fresh.tokens);
    const wanted = values(fresh.tokens)[host.hookOut];
    assert.deepEqual(shard.y.data.slice(0, 4 * host.d_model), wanted?.data);
    assert.deepEqual([...shard.lengths], [4]);
  }
});

test('another model is refused also where the held-out activations of the own one lie ready', async () => {
  const { open } = await setUp();
  assert.equal((await open({}, 'm')).source, 'held-out');
  await assert.rejects(
    open({}, 'finetuned'),
    (error: OperationError) => error.code === 'invalid_argument' && error.field === 'model',
  );
});

test('text of trained documents only is refused, and so is another host', async () => {
  const { open } = await setUp();
  await assert.rejects(
    open({ prompts: prompts.slice(0, 5) }),
    (error: OperationError) =>
      error.code === 'failed_precondition' && /all 5 documents/.test(error.message),
  );
  const other = await setUp({ model_digest: 'sha256:other' });
  await assert.rejects(
    other.open({ prompts: [{ tokens: [1, 2] }, { tokens: [3, 4] }] }),
    (error: OperationError) => error.code === 'invalid_argument' && error.field === 'model',
  );
});

test('a checkpoint of unknown training says so; one whose activations are gone asks for text', async () => {
  const unknown = await setUp({ activations: '' });
  const given = await unknown.open({ prompts });
  assert.deepEqual([given.trainedOnKnown, given.leftOut, given.documents], [false, 0, 40]);
  const passes = unknown.source.passes;
  await assert.rejects(unknown.open(), /no sequence/); // the server would generate text; this source has none
  assert.equal(unknown.source.passes, passes + 1);

  const gone = await setUp();
  await gone.blobs.remove(gone.digest);
  await assert.rejects(gone.open(), /give text/);
});

test('reading can go on at a later shard, and a bound thins the held-out text evenly', async () => {
  const { open } = await setUp();
  const unseen = await open();
  const rows = async (from: number) => {
    const found: number[][] = [];
    for await (const shard of unseen.shards(from)) found.push([...shard.tokens]);
    return found;
  };
  assert.deepEqual(await rows(1), (await rows(0)).slice(1));
  const few = await open({ tokens_max: Math.ceil(unseen.tokens / 2) });
  assert.ok(few.sequences < unseen.sequences && few.sequences >= unseen.sequences / 3);
});
