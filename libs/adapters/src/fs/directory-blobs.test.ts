import assert from 'node:assert/strict';
import { appendFile, readdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OperationError } from '@heddle/core';
import { launch, temporaryFolder } from '@heddle/testkit';
import { DirectoryBlobs } from './index.ts';

const FILL = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/fill-disk'));

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof OperationError, String(error));
  assert.equal(error.code, expected);
  return true;
};

async function opened(options = {}) {
  const folder = await temporaryFolder();
  const blobs = await DirectoryBlobs.open(folder.path, options);
  const fileOf = (digest: string): string => {
    const hex = digest.slice('sha256:'.length);
    return join(folder.path, hex.slice(0, 2), hex);
  };
  return { folder, blobs, fileOf };
}

test('a blob with a flipped or missing byte is refused, however it is read', async () => {
  const { folder, blobs, fileOf } = await opened();
  const { digest } = await blobs.put(new Uint8Array(5_000).fill(3));
  for (const damage of [
    (path: string) => appendFile(path, 'x'),
    (path: string) => truncate(path, 100),
    (path: string) => writeFile(path, new Uint8Array(5_000).fill(4)),
  ]) {
    await damage(fileOf(digest));
    await assert.rejects(blobs.read(digest), code('data_loss'));
    await assert.rejects(async () => {
      for await (const chunk of blobs.get(digest)) assert.ok(chunk.length > 0);
    }, code('data_loss'));
  }

  await blobs.put(new Uint8Array(5_000).fill(3));
  assert.equal((await blobs.read(digest)).length, 5_000, 'put again, it is whole again');
  await folder.remove();
});

test('past the budget nothing is kept, and what is removed makes room', async () => {
  const { folder, blobs } = await opened({ bytesMax: 10_000 });
  const { digest } = await blobs.put(new Uint8Array(6_000));

  await assert.rejects(blobs.put(new Uint8Array(6_000).fill(1)), (error) => {
    code('resource_exhausted')(error);
    assert.equal((error as OperationError).details['bytesMax'], 10_000);
    return true;
  });
  assert.deepEqual(await readdir(join(folder.path, 'tmp')), []);

  await blobs.remove(digest);
  await blobs.put(new Uint8Array(6_000).fill(1));
  const again = await DirectoryBlobs.open(folder.path, { bytesMax: 10_000 });
  await assert.rejects(again.put(new Uint8Array(6_000).fill(2)), code('resource_exhausted'));
  await folder.remove();
});

test('a disk that takes no more is resource_exhausted, and nothing half written stays', async () => {
  const folder = await temporaryFolder();
  // The kernel refuses every file past 8 blocks of 512 bytes, as a full disk refuses the next block.
  const within = ['sh', '-c', 'ulimit -f 8; exec "$@"', 'sh'];
  const child = launch(FILL, [folder.path, 'blobs'], { within });

  const { code: exit } = await child.exited;

  assert.equal(exit, 0, child.stderr());
  assert.deepEqual(child.lines, [
    'small kept',
    'large refused: resource_exhausted',
    'large left 0, tmp 0',
  ]);
  await folder.remove();
});

test('what a crashed writer left is removed at the next opening, what is being written is not', async () => {
  const { folder } = await opened();
  const old = join(folder.path, 'tmp', 'left');
  await writeFile(old, 'half a blob');
  await utimes(old, new Date(0), new Date(0));
  await writeFile(join(folder.path, 'tmp', 'in-work'), 'half a blob');

  await DirectoryBlobs.open(folder.path);

  assert.deepEqual(await readdir(join(folder.path, 'tmp')), ['in-work']);
  await folder.remove();
});

test('a directory opens although what another process was writing is gone before it is looked at', async () => {
  const { folder } = await opened();
  // Listed, and not there when asked about: what a rename in between leaves.
  await symlink(join(folder.path, 'nowhere'), join(folder.path, 'tmp', 'renamed'));
  await DirectoryBlobs.open(folder.path);
  await folder.remove();
});

test('a digest that is a path is refused', async () => {
  const { folder, blobs } = await opened();
  const path = 'sha256:../../../../etc/passwd' as const;

  await assert.rejects(blobs.read(path), code('invalid_argument'));
  await assert.rejects(blobs.remove(path), code('invalid_argument'));
  await assert.rejects(blobs.stat(path), code('invalid_argument'));
  await folder.remove();
});
