import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '@heddle/client';
import { temporaryFolder } from '@heddle/testkit';
import { bringUp } from './bring-up.ts';
import { readConfig } from './config.ts';

const QUIET = { HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0', HEDDLE_LOG_LEVEL: 'silent' };

test('a front door that is not told where the services are does not open', async () => {
  const { path, remove } = await temporaryFolder();
  const options = { dataDirectory: path, contracts: [], frontDoor: true, standing: true };
  await assert.rejects(bringUp(options, readConfig(QUIET)), {
    ...{ code: 'failed_precondition', field: 'HEDDLE_PEERS' },
    message: /HEDDLE_PEERS=activation=HOST:PORT/,
  });
  await remove();
});

test('a front door answers every contract that it has peers for, has a page, and keeps nothing', async () => {
  const { path, remove } = await temporaryFolder();
  const contracts = ['activation', 'attribution'] as const;
  const services = await bringUp(
    { dataDirectory: join(path, 'services'), contracts },
    readConfig(QUIET),
  );
  const peers = contracts.map((name) => `${name}=${services.address}`).join(',');
  const door = await bringUp(
    { dataDirectory: join(path, 'door'), contracts: [], frontDoor: true, standing: true },
    readConfig({ ...QUIET, HEDDLE_PEERS: peers }),
  );
  const heddle = connect(door.address);
  const { job } = await heddle.attribution.StartWhy({
    prompt: { text: 'Mary and John' },
    logit: {},
  });
  assert.equal((await heddle.waitForJob(job?.id ?? '')).state, 'JOB_STATE_SUCCEEDED');
  await assert.rejects(heddle.qk.StartFit({}), { code: 'unimplemented' });
  const page = (await (await fetch(`${door.pages}/api/state`)).json()) as Record<string, unknown[]>;
  assert.deepEqual(page['services'], ['activation', 'attribution', 'jobs']);
  assert.equal(page['jobs']?.length, 1);
  assert.deepEqual(page['missing'], []);
  const counted = await (await fetch(`${door.pages}/metrics`)).text();
  const method = 'heddle.attribution.v1.AttributionService/StartWhy';
  assert.ok(counted.includes(`grpc_calls_total{method="${method}",code="ok"} 1`));
  heddle.close();
  await door.close(1_000);
  await services.close(1_000);
  await remove();
});
