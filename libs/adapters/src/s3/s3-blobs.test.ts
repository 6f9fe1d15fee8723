import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { OperationError } from '@heddle/core';
import {
  digestOf,
  type LogLine,
  missingServer,
  recordingLog,
  type S3Server,
  SERVERS,
  startS3,
} from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { S3Blobs, type S3BlobsOptions } from './index.ts';
import { S3Bucket } from './s3-bucket.ts';
import { s3Error } from './s3-error.ts';

/** S3 takes no smaller parts, but for the last. */
const PART_BYTES = 5 * 1024 * 1024;

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof OperationError, String(error));
  assert.equal(error.code, expected);
  return true;
};

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 300_000) yield bytes.subarray(at, at + 300_000);
}

/** A download that breaks off behind so many pieces. */
async function* brokenOff(body: AsyncIterable<Uint8Array>, most: number) {
  let came = 0;
  for await (const piece of body) {
    if (came++ === most) throw Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
    yield piece;
  }
}

const missing = missingServer(SERVERS.s3);
const given = (sentence: string, body: (t: TestContext) => Promise<void>): void => {
  void test(`S3: ${sentence}`, missing === undefined ? {} : { skip: missing }, body);
};

let server: S3Server;
before(async () => {
  if (missing === undefined) server = await startS3();
});
after(() => server?.remove());

const open = (options: Partial<S3BlobsOptions> = {}): Promise<S3Blobs> =>
  S3Blobs.open({
    endpoint: server.endpoint,
    credentials: server.credentials,
    bucket: 'heddle-test',
    prefix: `${randomBytes(6).toString('hex')}/`,
    clock: systemClock,
    sizes: { partBytes: PART_BYTES, copyBytes: PART_BYTES },
    ...options,
  });

given('replicas that start together make one bucket', async () => {
  const bucket = `together-${randomBytes(4).toString('hex')}`;

  const all = await Promise.all(Array.from({ length: 8 }, () => open({ bucket, prefix: 'p/' })));

  const { digest } = await (all[0] as S3Blobs).put(randomBytes(10));
  assert.equal((await (all[7] as S3Blobs).read(digest)).length, 10);
  for (const each of all) await each.close();
});

given(
  'what is longer than one part and one copy comes back whole, and leaves nothing else',
  async () => {
    const prefix = 'long/';
    const blobs = await open({ prefix });
    const bytes = randomBytes(2 * PART_BYTES + 12_345);

    const { digest } = await blobs.put(pieces(bytes));

    assert.equal(digest, digestOf(bytes));
    assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
    assert.deepEqual(await filesIn(join(server.store, 'heddle-test', prefix, 'tmp')), []);
    await blobs.close();
  },
);

/** Private to whoever uses blobs; the requests that are sent are what is counted and cut here. */
const bucketOf = (blobs: S3Blobs): S3Bucket =>
  (blobs as unknown as { readonly bucket: S3Bucket }).bucket;

given('bytes in memory go up at once under their name, up to a bound', async () => {
  const bytes = new Uint8Array(randomBytes(2 * PART_BYTES + 1));
  const uploads = async (wholeBytes: number): Promise<number> => {
    const prefix = `whole-${wholeBytes}/`;
    const sizes = { partBytes: PART_BYTES, copyBytes: PART_BYTES, wholeBytes };
    const blobs = await open({ prefix, sizes });
    const bucket = bucketOf(blobs);
    const upload = bucket.upload.bind(bucket);
    let count = 0;
    bucket.upload = (...asked) => {
      count += 1;
      return upload(...asked);
    };
    const { digest } = await blobs.put(bytes);
    assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
    await blobs.close();
    return count;
  };

  assert.equal(await uploads(bytes.length), 0);
  assert.equal(await uploads(bytes.length - 1), 1);
});

given('a long stream that breaks off says why and leaves nothing', async () => {
  const prefix = 'broken/';
  const blobs = await open({ prefix });
  const bytes = randomBytes(2 * PART_BYTES);
  const broken = (async function* () {
    yield* pieces(bytes);
    throw new Error('the source broke');
  })();

  await assert.rejects(blobs.put(broken), /the source broke/);

  for await (const { digest } of blobs.list()) assert.fail(digest);
  assert.deepEqual(await filesIn(join(server.store, 'heddle-test', prefix, 'tmp')), []);
  await blobs.close();
});

given('an object whose bytes were changed is refused, and put again it is whole', async () => {
  const prefix = 'damaged/';
  const blobs = await open({ prefix });
  const bytes = new Uint8Array(5_000).fill(3);
  const { digest } = await blobs.put(bytes);
  const hex = digest.slice('sha256:'.length);
  const file = join(server.store, 'heddle-test', prefix, 'blobs', hex.slice(0, 2), hex);
  await writeFile(file, new Uint8Array(5_000).fill(4));

  await assert.rejects(blobs.read(digest), code('data_loss'));

  await blobs.put(bytes);
  assert.equal((await blobs.read(digest)).length, 5_000);
  await blobs.close();
});

given('past the budget nothing is kept, and what is removed makes room', async () => {
  const blobs = await open({ bytesMax: 10_000 });
  const { digest } = await blobs.put(new Uint8Array(6_000));

  await assert.rejects(blobs.put(new Uint8Array(6_000).fill(1)), code('resource_exhausted'));

  await blobs.remove(digest);
  await blobs.put(new Uint8Array(6_000).fill(1));
  await blobs.close();
});

given(
  'what is there already takes no more of the budget, before and after a new start',
  async () => {
    const prefix = 'again/';
    const bytes = new Uint8Array(6_000);
    const blobs = await open({ prefix, bytesMax: 10_000 });
    for (let time = 0; time < 3; time++) await blobs.put(bytes);
    await blobs.put(new Uint8Array(4_000));
    await assert.rejects(blobs.put(new Uint8Array(1)), code('resource_exhausted'));
    await blobs.close();

    const again = await open({ prefix, bytesMax: 10_000 });
    const { digest } = await again.put(bytes);
    await again.remove(digest);
    await again.put(new Uint8Array(6_000).fill(1));
    await assert.rejects(again.put(bytes), code('resource_exhausted'));
    await again.close();
  },
);

given(
  'a role that may not list uploads starts all the same, and is told who must free them',
  async (t) => {
    const denied = Object.assign(new Error('Access Denied'), {
      ...{ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } },
    });
    const uploads = t.mock.method(S3Bucket.prototype, 'abortUploads', () => Promise.reject(denied));
    const lines: LogLine[] = [];
    const blobs = await open({ log: recordingLog(lines) });
    assert.equal(uploads.mock.callCount(), 1);
    assert.match(lines.map(({ message }) => message).join(), /life-cycle rule/);
    await blobs.put(new Uint8Array(10));
    await blobs.close();
  },
);

given('unfinished uploads of every page are ended', async () => {
  const prefix = 'pages/';
  const blobs = await open({ prefix });
  const { client } = bucketOf(blobs) as unknown as { readonly client: S3Client };
  const target = { Bucket: 'heddle-test' };
  for (const Key of ['a', 'b', 'c'].map((name) => `${prefix}tmp/${name}`)) {
    await client.send(new CreateMultipartUploadCommand({ ...target, Key }));
  }
  const list = () => client.send(new ListMultipartUploadsCommand({ ...target, Prefix: prefix }));
  assert.equal((await list()).Uploads?.length, 3);
  client.middlewareStack.add(
    (next) => (args) => next({ ...args, input: { ...args.input, MaxUploads: 2 } }),
    { step: 'initialize' },
  );
  await blobs.sweep(-3_600_000);
  assert.deepEqual((await list()).Uploads ?? [], []);
  await blobs.close();
});

given(
  'a temporary object of a crashed writer is freed by a later start, a young one is not',
  async () => {
    const prefix = 'crashed/';
    const blobs = await open({ prefix });
    const { digest } = await blobs.put(new Uint8Array(10));
    const left = join(server.store, 'heddle-test', prefix, 'tmp');
    await mkdir(left);
    await writeFile(join(left, 'half'), 'half a blob'); // the server shows files as objects
    await blobs.close();

    await (await open({ prefix })).close();
    assert.deepEqual(await filesIn(left), ['half']);

    const later = { ...systemClock, now: () => systemClock.now() + 48 * 3_600_000 };
    const again = await open({ prefix, clock: later });
    assert.deepEqual(await filesIn(left), []);
    assert.equal((await again.stat(digest))?.bytes, 10, 'blobs are no leftovers');
    await again.close();
  },
);

given(
  'a download that breaks off goes on from there, and ends where nothing comes any more',
  async () => {
    const blobs = await open({ prefix: 'broken off/' }); // a blank: in a copy's header too
    const bytes = randomBytes(PART_BYTES + 1_000_000);
    const { digest } = await blobs.put(pieces(bytes));
    const bucket = bucketOf(blobs);
    const get = bucket.get.bind(bucket);
    const asked: number[] = [];
    bucket.get = async (key, from = 0) => {
      asked.push(from);
      const found = await get(key, from);
      return { ...found, body: brokenOff(found.body, asked.length < 4 ? 1 : Infinity) };
    };
    assert.ok(Buffer.from(await blobs.read(digest)).equals(bytes));
    assert.equal(asked.length, 4);

    bucket.get = async (key) => {
      const found = await get(key);
      return { ...found, body: brokenOff(found.body, 0) };
    };
    await assert.rejects(blobs.read(digest), code('unavailable'));
    await blobs.close();
  },
);

given('a wrong key is refused as such', async () => {
  const wrong = { ...server.credentials, secretAccessKey: 'wrong' };

  await assert.rejects(open({ credentials: wrong }), code('permission_denied'));
});

test('no credentials at all are refused with what to set', () => {
  const none = Object.assign(new Error('none found'), { name: 'CredentialsProviderError' });
  const said = s3Error(none, 'opening bucket b');
  assert.ok(said instanceof OperationError && said.code === 'failed_precondition');
  assert.match(said.message, /AWS_ACCESS_KEY_ID/);
});

given('while the server is away calls are unavailable, and afterwards they work', async () => {
  const blobs = await open();
  const { digest } = await blobs.put(new Uint8Array(100));
  await server.kill();

  await assert.rejects(blobs.read(digest), code('unavailable'));
  await assert.rejects(blobs.put(new Uint8Array(101)), code('unavailable'));

  await server.restart();
  assert.equal((await blobs.read(digest)).length, 100);
  await blobs.close();
});

async function filesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder, { recursive: true }).catch(() => []);
}
