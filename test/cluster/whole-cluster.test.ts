/**
 * The six services as processes of their own, over a real NATS server, and one process that runs all of them alone: the same
 * command lines, given to the front door and to that process, find the same to the last digit.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TourReport } from '@heddle/cli';
import {
  type Cluster,
  ClusterProcess,
  launch,
  missingServer,
  SERVERS,
  stablePort,
  startCluster,
  temporaryFolder,
} from '@heddle/testkit';

const MAIN = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const PROMPT = 'When Mary and John went to the store, John gave a drink to';
const skip = missingServer(SERVERS.natsCurrent) ?? false;

let cluster: Cluster;
let alone: ClusterProcess;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let tours: readonly TourReport[];

interface Ran {
  readonly status: number | null;
  readonly document: Record<string, unknown>;
  readonly stderr: string;
}

async function heddle(server: string, ...argv: readonly string[]): Promise<Ran> {
  const env = { HEDDLE_SERVER: server };
  const child = launch(MAIN, [...argv, '--json'], { env, cwd: folder.path });
  const { code } = await child.exited;
  const document = JSON.parse(child.lines.join('\n')) as Ran['document'];
  return { status: code, document, stderr: child.stderr() };
}

async function done(server: string, ...argv: readonly string[]): Promise<Ran['document']> {
  const { status, document, stderr } = await heddle(server, ...argv);
  assert.equal(status, 0, `${argv.join(' ')}: ${stderr}`);
  return document;
}

/** Front door first, then the process that is alone. */
const servers = () => [cluster.address, alone.address] as const;

/** What the same command line finds in both; files that it writes are named after where it was run. */
async function both(
  argv: (where: 'cluster' | 'alone') => readonly string[],
): Promise<readonly [Ran['document'], Ran['document']]> {
  const [there, here] = servers();
  return Promise.all([done(there, ...argv('cluster')), done(here, ...argv('alone'))]);
}

const ID = /\b((?:activation|attribution|circuit|lorsa|qk)-[a-z]+)-[0-9a-f]{12}\b/g;
/** When, how long, and where: what two runs cannot share. */
const OF_ONE_RUN = /(^|_)(seconds?|ms|client_key|address|out|file|sequence|retries)($|_)/;

/** A document without what is of one run alone; a job is what kind it is. */
const common = (document: unknown): unknown =>
  JSON.parse(JSON.stringify(document).replace(ID, '$1'), (key, value) =>
    OF_ONE_RUN.test(key) ? undefined : value,
  );

function same([there, here]: readonly [unknown, unknown]): void {
  assert.deepEqual(common(there), common(here));
}

const digestOf = (name: string) =>
  createHash('sha256')
    .update(readFileSync(join(folder.path, name)))
    .digest('hex');

before(async () => {
  if (skip) return;
  folder = await temporaryFolder();
  const data = join(folder.path, 'alone');
  const ports = { port: await stablePort(), httpPort: await stablePort() };
  const services = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
  alone = new ClusterProcess({ name: 'alone', services, data, env: { HEDDLE_NATS: '' }, ...ports });
  [cluster] = await Promise.all([startCluster(), alone.start()]);
  const [there, here] = servers();
  const reports = [await done(there, 'tour', '--exit'), await done(here, 'tour', '--exit')];
  tours = reports as unknown as readonly TourReport[];
});

after(async () => {
  await cluster?.remove();
  await alone?.kill();
  await folder?.remove();
});

test('the main job finds on six processes what it finds in one', { skip }, (t) => {
  const [there, here] = tours;
  assert.ok(there && here);
  same([there, here]);
  const seconds = (tour: TourReport) => tour.seconds.all.toFixed(1);
  t.diagnostic(`the tour: cluster ${seconds(there)} s, alone ${seconds(here)} s`);
  // Nothing waits for what does not come: that would be minutes, and a machine's speed is not what is tested.
  const bound = 10 * here.seconds.all + 60;
  assert.ok(there.seconds.all < bound, 'no job waits for anything but its work');
});

test('run, why, trace and qk fit: the same numbers, in the same files', { skip }, async () => {
  const file = (where: string) => `run-${where}.safetensors`;
  const hooks = 'blocks.*.attn.hook_pattern';
  same(await both((w) => ['run', '--hooks', hooks, '--text', PROMPT, '--out', file(w)]));
  same(await both(() => ['run', '--hooks', 'blocks.1.hook_resid_post', '--text', PROMPT]));
  same(await both(() => ['why', '--text', PROMPT, '--next-token']));
  const graph = (where: string) => `graph-${where}.json`;
  const trace = ['trace', '--text', PROMPT, '--target', ' Mary'];
  same(await both((w) => [...trace, '--out', graph(w)]));
  const parsed = ['cluster', 'alone'].map((w) =>
    JSON.parse(readFileSync(join(folder.path, graph(w)), 'utf8')),
  );
  same([parsed[0], parsed[1]]);
});

test('a training’s checkpoint is the same file, applied to the same effect, and its heads are the same', {
  skip,
}, async () => {
  const jobs = tours.map(({ lorsa }) => lorsa.job);
  const of = (where: string) => jobs[where === 'cluster' ? 0 : 1] ?? '';
  const artifacts = await both((w) => ['job', 'result', of(w)]);
  same(artifacts);
  const names = (artifacts[0]['artifacts'] as { name: string }[]).map(({ name }) => name);
  const checkpoint = names.find((name) => /safetensors$/.test(name)) ?? '';
  await both((w) => ['job', 'result', of(w), '--artifact', checkpoint, '--out', `lorsa-${w}`]);
  assert.equal(digestOf('lorsa-cluster'), digestOf('lorsa-alone'));

  const layer = `blocks.${tours[0]?.lorsa.layer ?? 0}`;
  const hooks = [`${layer}.ln1.hook_normalized`, `${layer}.hook_attn_out`] as const;
  await both((w) => ['run', '--hooks', hooks.join(','), '--text', PROMPT, '--out', `x-${w}`]);
  const keys = ['--key', `p0/${hooks[0]}`, '--target-key', `p0/${hooks[1]}`];
  const apply = (w: string) => ['--input', `x-${w}`, '--out', `applied-${w}`, ...keys];
  same(await both((w) => ['lorsa', 'apply', of(w), ...apply(w)]));
  same(await both((w) => ['lorsa', 'heads', of(w), '--top', '5']));
});

test('jobs are listed, shown, reproduced, cancelled and collected through the front door', {
  skip,
}, async () => {
  const [door] = servers();
  const { jobs } = await done(door, 'job', 'ls');
  const listed = jobs as { id: string; kind: string; state: string }[];
  const domains = new Set(listed.map(({ kind }) => kind.split('.')[0]));
  assert.deepEqual([...domains].sort(), ['activation', 'attribution', 'circuit', 'lorsa', 'qk']);
  const each = [...new Map(listed.map((job) => [job.kind, job])).values()];
  for (const { id, kind } of each) {
    const { job } = (await done(door, 'job', 'show', id.slice(0, -2))) as { job: { kind: string } };
    assert.equal(job.kind, kind);
  }
  for (const chapter of ['circuit', 'why'] as const) {
    const { equal } = await done(door, 'reproduce', tours[0]?.[chapter].job ?? '');
    assert.equal(equal, true, chapter);
  }
  const long = ['lorsa', 'train', '--layer', '1', '--steps', '100000', '--seed', '9', '--detach'];
  const { job: id } = (await done(door, ...long)) as { job: string };
  const { job } = (await done(door, 'job', 'cancel', id)) as { job: { state: string } };
  assert.equal(job.state, 'cancelled');
  const { freed } = (await done(door, 'gc', '--dry-run')) as { freed: { count: number }[] };
  assert.ok(freed.some(({ count }) => count > 0));
  const after = (await done(door, 'job', 'ls')) as { jobs: unknown[] };
  assert.ok(after.jobs.length > listed.length, 'nothing was freed');
});

test('a service that is down is named; what does not need it goes on, and it goes on when it is back', {
  skip,
}, async () => {
  const [door] = servers();
  const circuit = cluster.process('circuit');
  assert.equal((await circuit.stop()).code, 0);
  const trace = ['trace', '--text', PROMPT, '--target', ' Mary'];
  const { status, document } = await heddle(door, ...trace);
  const { error } = document as { error: { code: string; message: string } };
  assert.equal(status, 1);
  assert.equal(error.code, 'UNAVAILABLE');
  assert.match(error.message, /circuit service does not answer at 127\.0\.0\.1:\d+/);
  await done(door, 'why', '--text', PROMPT, '--next-token');
  const { job } = await done(door, 'job', 'show', tours[0]?.circuit.job ?? '');
  assert.equal((job as { state: string }).state, 'succeeded', 'its jobs can be read meanwhile');
  await circuit.start();
  await done(door, ...trace);
});
