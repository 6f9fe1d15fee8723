import assert from 'node:assert/strict';
import { test } from 'node:test';
import { temporaryFolder } from '@heddle/testkit';
import { bringUp, readConfig } from 'heddle';
import { PAGES } from './chart/containers.ts';
import { workloads } from './chart/manifests.ts';
import { missingHelm, render } from './chart/render.ts';

const skip = missingHelm();

test('a front door with the chart’s own variables answers what its probes and Prometheus ask', {
  skip,
}, async (t) => {
  const found = workloads(render()).find(({ isDoor }) => isDoor);
  assert.ok(found);
  const { path, remove } = await temporaryFolder();
  const here = { HEDDLE_HOST: '127.0.0.1', HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0' };
  const door = await bringUp(
    { dataDirectory: path, contracts: [], frontDoor: true, standing: true },
    readConfig({ ...found.env, ...here, HEDDLE_LOG_LEVEL: 'silent' }),
  );
  t.after(() => door.close(1_000).then(remove));

  const { startupProbe, livenessProbe, readinessProbe } = found.container;
  const asked = [startupProbe, livenessProbe, readinessProbe].flatMap(
    (probe) => probe?.httpGet?.path ?? [],
  );
  assert.ok(asked.length > 0);
  for (const page of [...PAGES, ...asked]) {
    assert.equal((await fetch(`${door.pages}${page}`)).status, 200, page);
  }
  assert.equal((await fetch(`${door.pages}/health`)).status, 404, 'not everything is answered');
});
