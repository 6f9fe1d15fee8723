/** deploy/compose/compose.yaml as it stands, on this machine's engine. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '@heddle/adapters/clock';
import { connect, type Heddle } from '@heddle/client';
import { freePort } from '@heddle/testkit';
import { composeProgram } from './compose-program.ts';
import { docker, hasImage, inspect } from './docker.ts';
import { mainJob } from './main-job.ts';
import { buildOurImages, IMAGES, missingContainers } from './our-images.ts';

const FILE = fileURLToPath(new URL('../../deploy/compose/compose.yaml', import.meta.url));
const PROJECT = `heddle-test-${process.pid}`;
const START_TIMEOUT_MS = 12 * 60_000;
const TEST_TIMEOUT_MS = 4 * 60_000;
const COMMAND_TIMEOUT_MS = 3 * 60_000;

const compose = composeProgram();
const missing =
  (await missingContainers()) ??
  (compose === undefined ? 'no container engine with docker compose 2' : undefined);
const can = missing === undefined ? { timeout: TEST_TIMEOUT_MS } : { skip: missing };
let ports: Readonly<Record<string, string>> = {};
let address = '';
let heddle: Heddle;

async function run(...args: readonly string[]): Promise<string> {
  const [program = '', ...first] = compose ?? [];
  const options = { env: { ...process.env, ...ports }, timeout: COMMAND_TIMEOUT_MS };
  const all = [...first, '-p', PROJECT, '-f', FILE, ...args];
  return (await promisify(execFile)(program, all, options)).stdout.trim();
}

const idOf = (service: string): Promise<string> => run('ps', '-aq', service);

/** Everything, but Grafana where its image cannot be had: no package registry has it. */
async function standing(): Promise<readonly string[]> {
  const named = (await run('config', '--services')).split('\n');
  const image = (await run('config', '--images')).split('\n').find((name) => /grafana/.test(name));
  const shown = image !== undefined && (await hasImage(image));
  return named.filter((name) => name !== 'volumes' && (shown || name !== 'grafana'));
}

async function prometheus<T>(path: string): Promise<T> {
  const answer = await fetch(`http://127.0.0.1:${ports['HEDDLE_PROMETHEUS_PORT']}/api/v1/${path}`);
  return ((await answer.json()) as { readonly data: T }).data;
}

before(
  async () => {
    if (missing !== undefined) return;
    await buildOurImages();
    const names = ['HEDDLE_COMPOSE_PORT', 'HEDDLE_COMPOSE_HTTP_PORT', 'HEDDLE_PROMETHEUS_PORT'];
    const free = await Promise.all(names.map(async (name) => [name, `${await freePort()}`]));
    ports = Object.fromEntries(free) as Record<string, string>;
    await run('up', '-d', '--wait', ...(await standing()));
    address = `127.0.0.1:${ports['HEDDLE_COMPOSE_PORT']}`;
    heddle = connect(address);
  },
  { timeout: START_TIMEOUT_MS },
);

after(async () => {
  heddle?.close();
  if (missing === undefined) await run('down', '-v', '--remove-orphans', '-t', '5');
});

test('the main job runs on the composed cluster', can, async (t) => {
  t.diagnostic(`seconds ${JSON.stringify(await mainJob(address))}`);
});

test('results are in the object store', can, async () => {
  const names = await docker('exec', await idOf('s3'), 'ls', '/data/objects/heddle');
  assert.notEqual(names, '');
});

test(
  'the front door reaches the services, and neither NATS nor the object store',
  can,
  async () => {
    const look = (name: string): Promise<string> => {
      const code = `require('dns').lookup('${name}', (error) => console.log(error ? error.code : 'found'))`;
      return idOf('explorer').then((id) => docker('exec', id, 'node', '-e', code));
    };
    assert.equal(await look('lorsa'), 'found');
    for (const name of ['nats', 's3']) assert.match(await look(name), /ENOTFOUND|EAI_AGAIN/, name);
  },
);

test(
  'Prometheus has every process with its labels, its rules are sound, and no alert fires',
  can,
  async () => {
    interface Target {
      readonly health: string;
      readonly labels: Readonly<Record<string, string>>;
    }
    const up = async (): Promise<readonly Target[]> => {
      const { activeTargets } = await prometheus<{ activeTargets: Target[] }>('targets');
      return activeTargets.filter(({ health }) => health === 'up');
    };
    while ((await up()).length < IMAGES.length) await systemClock.sleep(200);
    const labels = (await up()).map(({ labels: { job, service, role, instance } }) =>
      [job, service, role, instance].join(' '),
    );
    assert.deepEqual(labels.sort(), IMAGES.map((name) => `heddle ${name} service ${name}`).sort());

    interface Rule {
      readonly name: string;
      readonly health: string;
      readonly lastError?: string;
      readonly state?: string;
    }
    const rules = async (): Promise<readonly Rule[]> => {
      const { groups } = await prometheus<{ groups: { rules: Rule[] }[] }>('rules');
      return groups.flatMap((group) => group.rules);
    };
    while ((await rules()).some(({ health }) => health === 'unknown')) await systemClock.sleep(200);
    const all = await rules();
    assert.ok(all.length > 0);
    const unsound = all.filter(({ health, state }) => health !== 'ok' || state === 'firing');
    assert.deepEqual(unsound, []);
  },
);

test('a process that ends is started again, and its jobs are all there', can, async () => {
  const before = (await heddle.jobs.List({})).jobs.length;
  assert.ok(before > 0, 'of the main job');
  const id = await idOf('circuit');
  await docker('exec', id, 'sh', '-c', 'kill -TERM 1');
  const state = async () => (await inspect<Container>(id)).RestartCount > 0;
  while (!(await state())) await systemClock.sleep(100);
  await run('up', '-d', '--wait', 'circuit');
  assert.equal((await heddle.jobs.List({})).jobs.length, before);
});

test(
  'told to stop, every process of ours ends by itself, and all is there when they begin again',
  can,
  async (t) => {
    const before = (await heddle.jobs.List({})).jobs.map(({ id }) => id).sort();
    const began = performance.now();
    await run('stop');
    t.diagnostic(`stopped in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    for (const name of IMAGES) {
      const { State } = await inspect<Container>(await idOf(name));
      assert.equal(State.ExitCode, 0, `${name} ended with ${State.ExitCode}`);
    }
    await run('up', '-d', '--wait', ...(await standing()));
    const again = connect(address);
    try {
      assert.deepEqual((await again.jobs.List({})).jobs.map(({ id }) => id).sort(), before);
    } finally {
      again.close();
    }
  },
);

interface Container {
  readonly RestartCount: number;
  readonly State: { readonly ExitCode: number };
}
