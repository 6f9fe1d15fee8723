import { blobsContract, temporaryFolder } from '@heddle/testkit';
import { DirectoryBlobs } from './index.ts';

blobsContract('blob directory', async () => {
  const folder = await temporaryFolder();
  return { blobs: await DirectoryBlobs.open(folder.path), close: () => folder.remove() };
});
