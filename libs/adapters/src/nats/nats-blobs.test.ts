import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { OperationError } from '@heddle/core';
import { missingServer, type NatsServer, SERVERS, silentLog, startNats } from '@heddle/testkit';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Objm } from '@nats-io/obj';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { systemClock } from '../clock/index.ts';
import { openNats } from './index.ts';
import { NatsBlobs } from './nats-blobs.ts';
import { unavailable } from './nats-error.ts';
import { NatsLink } from './nats-link.ts';

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof OperationError, String(error));
  assert.equal(error.code, expected);
  return true;
};

const missing = missingServer(SERVERS.natsCurrent);
const skip = missing === undefined ? {} : { skip: missing };
let server: NatsServer;
let nc: NatsConnection;
before(async () => {
  if (missing !== undefined) return;
  server = await startNats(SERVERS.natsCurrent);
  nc = await connect({ servers: server.url });
});
const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
  await nc?.close();
  await server?.remove();
});

async function opened(prefix: string, bytesMax?: number) {
  const stores = await openNats({
    servers: [server.url],
    clock: systemClock,
    log: silentLog,
    prefix,
    ...(bytesMax === undefined ? {} : { blobs: { bytesMax } }),
  });
  closing.push(stores.close);
  const chunkSubjects = async (): Promise<readonly string[]> => {
    const { streams } = await jetstreamManager(nc);
    const subjects_filter = `$O.${prefix}-blobs.C.>`;
    const { state } = await streams.info(`OBJ_${prefix}-blobs`, { subjects_filter });
    return Object.keys(state.subjects ?? {});
  };
  return { blobs: await stores.blobs(), chunkSubjects };
}

test('a blob is an object that NATS’ own client reads and verifies', skip, async () => {
  const { blobs } = await opened('own');
  const bytes = randomBytes(1_700_000);
  const { digest } = await blobs.put(bytes);
  const bucket = await new Objm(jetstream(nc)).open('own-blobs');

  assert.ok(Buffer.from((await bucket.getBlob(digest)) ?? []).equals(bytes));
  assert.deepEqual(
    (await bucket.list()).map(({ name, size }) => [name, size]),
    [[digest, bytes.length]],
  );
});

test('of many that put the same blob one is kept, with the chunks of one', skip, async () => {
  const { blobs, chunkSubjects } = await opened('many');
  const bytes = randomBytes(600_000);

  await Promise.all(Array.from({ length: 8 }, () => blobs.put(bytes)));

  assert.equal((await chunkSubjects()).length, 1);
  const { digest } = await blobs.put(bytes);
  assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
  await blobs.remove(digest);
  assert.deepEqual(await chunkSubjects(), []);
});

test('a blob put and removed by turns is there whole or not at all', skip, async () => {
  const { blobs, chunkSubjects } = await opened('turns');
  const bytes = randomBytes(10_000);
  const { digest } = await blobs.put(bytes);
  const turns = Array.from({ length: 30 }, async (_, i) => {
    if (i % 2 === 0) await blobs.put(bytes);
    else await blobs.remove(digest);
    try {
      assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
    } catch (error) {
      code('not_found')(error);
    }
  });
  await Promise.all(turns);

  await blobs.put(bytes);
  assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
  assert.equal((await chunkSubjects()).length, 1, 'and no chunks of nobody');
});

test('what is put again while it is removed for its age stays', skip, async () => {
  const { blobs } = await opened('again');
  const bytes = randomBytes(2_000);
  for (let i = 0; i < 60; i++) {
    const { digest, modifiedMs } = await blobs.put(bytes);
    await Promise.all([
      blobs.remove(digest, { unlessModifiedSinceMs: modifiedMs }),
      blobs.put(bytes),
    ]);
    assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes), `round ${i}`);
  }
});

test(
  'chunks that a dead writer left are freed once they are old, a blob’s never',
  skip,
  async () => {
    const { blobs, chunkSubjects } = await opened('swept');
    const { digest } = await blobs.put(randomBytes(1_000));
    await jetstream(nc).publish('$O.swept-blobs.C.left', randomBytes(1_000));

    assert.equal(await blobs.sweep(60_000), 0);
    assert.equal((await chunkSubjects()).length, 2);
    assert.equal(await blobs.sweep(0), 1);
    assert.equal((await chunkSubjects()).length, 1);
    assert.equal((await blobs.read(digest)).length, 1_000);
  },
);

test('past the budget nothing is kept', skip, async () => {
  const { blobs, chunkSubjects } = await opened('budget', 2_000_000);
  const { digest } = await blobs.put(new Uint8Array(1_000_000));

  await assert.rejects(blobs.put(new Uint8Array(3_000_000).fill(1)), code('resource_exhausted'));

  assert.equal((await chunkSubjects()).length, 1);
  await blobs.remove(digest);
  await blobs.put(new Uint8Array(1_500_000).fill(1));
});

test('a chunk that had to be sent again lies in its place all the same', skip, async () => {
  const link = await NatsLink.open({
    servers: [server.url],
    clock: systemClock,
    log: silentLog,
    prefix: 'late',
  });
  closing.push(() => link.close());
  const blobs = await NatsBlobs.open(link);
  const { js } = link;
  const publish = js.publish.bind(js);
  let chunks = 0;
  js.publish = async (subject, ...rest) => {
    // As when a leader dies: the third does not arrive, and those sent after it do.
    if (subject.startsWith('$O.late-blobs.C.') && ++chunks === 3) throw unavailable('no leader');
    return publish(subject, ...rest);
  };
  const bytes = randomBytes(3_000_000);
  const { digest } = await blobs.put(bytes);

  assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
  assert.ok(chunks > 7, 'one was sent again');
  const { streams } = await jetstreamManager(nc);
  const { state } = await streams.info('OBJ_late-blobs', { subjects_filter: '$O.late-blobs.C.>' });
  assert.equal(Object.keys(state.subjects ?? {}).length, 1, 'the first try is gone');
});

test('a blob that lost a chunk is data loss', skip, async () => {
  const { blobs, chunkSubjects } = await opened('lost');
  const { digest } = await blobs.put(randomBytes(1_200_000));
  const { streams } = await jetstreamManager(nc);
  assert.equal((await chunkSubjects()).length, 1);
  await streams.deleteMessage('OBJ_lost-blobs', 2); // the second of three

  await assert.rejects(blobs.read(digest), code('data_loss'));
});
