import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { blobsContract, missingServer, type S3Server, SERVERS, startS3 } from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { S3Blobs } from './index.ts';

const missing = missingServer(SERVERS.s3);
if (missing === undefined) {
  let server: S3Server | undefined;
  before(async () => {
    server = await startS3();
  });
  after(() => server?.remove());

  blobsContract(`S3 (${SERVERS.s3.name} ${SERVERS.s3.version})`, async () => {
    const blobs = await S3Blobs.open({
      endpoint: server?.endpoint ?? '',
      bucket: 'heddle-test',
      credentials: server?.credentials ?? { accessKeyId: '', secretAccessKey: '' },
      prefix: `${randomBytes(6).toString('hex')}/`, // every test has objects of its own
      clock: systemClock,
    });
    return { blobs, close: () => blobs.close() };
  });
} else {
  test('S3 keeps the contract of blobs', { skip: missing }, () => undefined);
}
