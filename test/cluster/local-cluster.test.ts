/** `npm run cluster`, as a user types it. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from '@heddle/client';
import { launch, missingServer, SERVERS, temporaryFolder } from '@heddle/testkit';

const SCRIPT = fileURLToPath(new URL('../../deploy/local/cluster.ts', import.meta.url));
const skip = missingServer(SERVERS.natsCurrent) ?? false;

test('without a NATS server it says how to get one, and ends with 1', async () => {
  const { path, remove } = await temporaryFolder();
  const env = { HEDDLE_DATA: path, HEDDLE_SERVERS: path, PATH: path };
  const child = launch(SCRIPT, ['--exit'], { env });
  assert.equal((await child.exited).code, 1);
  assert.match(child.stderr(), /no nats-server 2\.11\.0 or newer.*npm run servers/);
  await remove();
});

test('the cluster comes up, a process that is killed is started again, and all of it ends when told', {
  skip,
}, async () => {
  const { path, remove } = await temporaryFolder();
  const child = launch(SCRIPT, [], { env: { HEDDLE_DATA: path, HEDDLE_SERVER: '' } });
  const [, address = ''] = await child.line(/^ {2}gRPC +(\S+)/);
  const [, store = ''] = await child.line(/^ {2}blobs +(\S+)/);
  const isS3 = missingServer(SERVERS.s3) === undefined;
  assert.equal(store, isS3 ? 's3://heddle' : "JetStream's");
  const heddle = connect(address);
  const why = async () => {
    const request = { prompt: { text: 'Mary and John' }, logit: {} };
    const { job } = await heddle.attribution.StartWhy(request);
    return (await heddle.waitForJob(job?.id ?? '')).state;
  };
  assert.equal(await why(), 'JOB_STATE_SUCCEEDED');
  const lock = readFileSync(join(path, 'cluster', 'attribution', 'heddle.lock'), 'utf8');
  process.kill((JSON.parse(lock) as { pid: number }).pid, 'SIGKILL');
  await child.line(/^attribution ended \(SIGKILL\) and is started again/);
  let state: string | undefined;
  for (const endMs = Date.now() + 30_000; state === undefined && Date.now() < endMs; ) {
    state = await why().catch(() => undefined);
  }
  assert.equal(state, 'JOB_STATE_SUCCEEDED');
  heddle.close();
  child.kill('SIGTERM');
  assert.equal((await child.exited).code, 0, child.stderr());
  assert.ok(
    !existsSync(join(path, 'cluster', 'lorsa', 'heddle.lock')),
    'services ended by themselves',
  );
  await remove();
});
