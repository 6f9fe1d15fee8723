import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { folderHub } from '@heddle/adapters/hub';
import { MemoryBlobs, temporaryFolder } from '@heddle/testkit';
import { Corpora } from './corpora.ts';

test('a corpus that this replica does not see is refused with what would make it seen; alone, with what is wrong', async () => {
  const { path, remove } = await temporaryFolder();
  const deps = { hub: folderHub({ roots: [path] }), blobs: new MemoryBlobs(systemClock) };
  const none = { path: `${path}/none.txt` };
  const [shared, alone] = [new Corpora({ ...deps, shared: true }), new Corpora(deps)];
  await assert.rejects(shared.open(none), {
    ...{ code: 'not_found', field: 'corpus' },
    message: /none\.txt: no such file or folder on this replica.*each replica must see a corpus/,
  });
  await assert.rejects(shared.open({ path: '/etc/hostname' }), {
    ...{ code: 'permission_denied', field: 'corpus' },
    message: /may not be read on this replica/,
  });
  await assert.rejects(alone.open(none), { message: /none\.txt: no such file or folder$/ });
  await remove();
});
