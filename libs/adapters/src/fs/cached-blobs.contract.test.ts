import { join } from 'node:path';
import { blobsContract, MemoryBlobs, silentLog, temporaryFolder } from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { CachedBlobs } from './index.ts';

blobsContract('blobs with copies on this machine', async () => {
  const folder = await temporaryFolder();
  const blobs = new MemoryBlobs(systemClock);
  const directory = join(folder.path, 'copies');
  const cached = await CachedBlobs.open({ blobs, directory, bytesMax: 2 ** 20, log: silentLog });
  return { blobs: cached, close: () => folder.remove() };
});
