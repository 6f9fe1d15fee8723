/** The command line as processes: what a shell, a supervisor and a second terminal see of it. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readSafetensors } from '@heddle/formats';
import { DYING_WITH_US } from '@heddle/testkit';

const HEDDLE = fileURLToPath(new URL('../../services/embedded/bin/heddle.js', import.meta.url));
const MODELS = fileURLToPath(new URL('../golden/models', import.meta.url));
const GPT2 = join(MODELS, 'gpt2');
const scratch = mkdtempSync(join(tmpdir(), 'heddle-cluster-'));
const children = new Set<ChildProcess>();

after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
});

/** 16 prompts of 16 tokens, for a training that needs no tokenizer. */
const CORPUS = join(scratch, 'corpus.jsonl');
const lines = Array.from({ length: 16 }, (_, i) => ({
  tokens: Array.from({ length: 16 }, (_, j) => (i * 7 + j * 3) % 50),
}));
writeFileSync(CORPUS, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
const TRAIN = ['lorsa', 'train', GPT2, '--layer', '0', '--corpus', CORPUS, '--context', '16'];

let count = 0;
const freshData = () => {
  const path = join(scratch, `data-${count++}`);
  mkdirSync(path);
  return path;
};

const start = (data: string, ...argv: string[]) => startWith({}, data, ...argv);

function startWith(environment: NodeJS.ProcessEnv, data: string, ...argv: string[]): ChildProcess {
  const ports = { HEDDLE_PORT: '0', HEDDLE_HTTP_PORT: '0' };
  const env = { ...process.env, ...ports, ...environment, HEDDLE_DATA: data };
  delete (env as Record<string, string | undefined>)['HEDDLE_SERVER'];
  const [program = '', ...args] = [...DYING_WITH_US, process.execPath, HEDDLE, ...argv];
  const child = spawn(program, args, {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

interface Ran {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

async function finished(child: ChildProcess): Promise<Ran> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, out, err };
}

const heddle = (data: string, ...argv: string[]) => finished(start(data, ...argv));

interface Up {
  readonly child: ChildProcess;
  readonly data: string;
  readonly address: string;
  readonly pages: string;
  /** The serving process, not its launcher. */
  readonly pid: number;
}

async function up(argv: readonly string[] = [], environment: NodeJS.ProcessEnv = {}): Promise<Up> {
  const data = freshData();
  const child = startWith(environment, data, 'up', '--json', ...argv);
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const { address, pages, pid } = JSON.parse(line.toString());
  return { child, data, address, pages, pid };
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${what}: not within a minute`);
}

/** Running, and not merely waiting to be reaped by an init that never does. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return existsSync('/proc') ? false : isThere(pid);
  }
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const jobOf = async (data: string, id: string) =>
  JSON.parse((await heddle(data, 'job', 'show', id, '--json')).out).job as {
    state: string;
    progress: { done: number } | null;
  };

for (const folder of ['gpt2', 'neox-parallel', 'llama3', 'qwen2', 'qwen3']) {
  test(`heddle run works alone for a directory of ${folder}, every hook in the file`, async () => {
    const data = freshData();
    const out = join(data, 'f.safetensors');
    const model = join(MODELS, folder);
    const argv = ['run', model, '--tokens', '1,2,3', '--tokens', '4', '--hooks', '*', '--out', out];
    const started = performance.now();
    const ran = await heddle(data, ...argv);
    const seconds = (performance.now() - started) / 1000;
    assert.equal(ran.status, 0, ran.err);
    const file = readSafetensors(out, new Uint8Array(readFileSync(out)));
    const hooks = JSON.parse((await heddle(data, 'model', 'hooks', model, '--json')).out).hooks;
    const there = hooks.filter((hook: { available: boolean }) => hook.available);
    assert.equal(file.names().length, 2 * (there.length + 1));
    assert.equal(file.tensor('p1/logits').shape[0], 1);
    assert.deepEqual(file.tensor('p0/tokens').data, BigInt64Array.of(1n, 2n, 3n));
    assert.ok(!existsSync(join(data, 'heddle.lock')), 'nothing owns the directory any more');
    console.log(`${folder}: ${seconds.toFixed(2)} s`);
  });
}

test('exit statuses and the one JSON document pass through the launcher', async () => {
  const data = freshData();
  const help = await heddle(data, '--help');
  assert.equal(help.status, 0);
  assert.equal(help.err, '', 'no warnings of Node');
  const usage = await heddle(data, 'run', '--json');
  assert.equal(usage.status, 2);
  assert.equal(JSON.parse(usage.out).error.code, 'INVALID_ARGUMENT');
  const refused = await heddle(data, 'run', GPT2, '--tokens', '999', '--hooks', '*', '--json');
  assert.equal(refused.status, 3, refused.err);
  assert.match(JSON.parse(refused.out).error.field, /prompts\[0\]\.tokens/);
  const missing = await heddle(data, 'run', './nowhere', '--tokens', '1', '--hooks', '*', '--json');
  assert.equal(missing.status, 3);
  assert.equal(JSON.parse(missing.out).error.code, 'NOT_FOUND');
});

test('heddle up answers over gRPC and HTTP, is found by other commands, and refuses a second one', async () => {
  const cluster = await up();
  const { data } = cluster;
  assert.equal((await heddle(data, 'job', 'ls', '--json')).out, '{"jobs":[],"more":false}\n');
  const second = await heddle(data, 'up', '--json');
  assert.equal(second.status, 3);
  assert.equal(JSON.parse(second.out).error.details.pid, cluster.pid);

  const buf = createRequire(import.meta.url).resolve('@bufbuild/buf/package.json');
  const curl = [join(buf, '..', 'bin', 'buf'), 'curl', '--protocol', 'grpc'];
  const listed = execFileSync(process.execPath, [
    ...curl,
    '--http2-prior-knowledge',
    ...['-d', JSON.stringify({ model: GPT2 })],
    `http://${cluster.address}/heddle.activation.v1.ActivationService/DescribeModel`,
  ]);
  assert.equal(JSON.parse(listed.toString()).model.family, 'gpt2', 'reflection is served');

  const metrics = await (await fetch(`${cluster.pages}/metrics`)).text();
  assert.match(
    metrics,
    /^grpc_calls_total\{method="heddle\.jobs\.v1\.JobsService\/List",code="ok"\} 1$/m,
  );
  const state = await (await fetch(`${cluster.pages}/api/state`)).json();
  assert.deepEqual((state as { missing: unknown }).missing, []);
  const page = await fetch(`${cluster.pages}/`);
  assert.match(await page.text(), /<title>Heddle<\/title>/);

  cluster.child.kill('SIGTERM');
  const { status } = await finished(cluster.child);
  assert.equal(status, 0);
  assert.ok(!alive(cluster.pid));
  assert.ok(!existsSync(join(data, 'heddle.lock')));
});

test('a process killed without warning leaves a directory that the next one takes over', async () => {
  const cluster = await up();
  process.kill(cluster.pid, 'SIGKILL');
  await finished(cluster.child);
  assert.ok(existsSync(join(cluster.data, 'heddle.lock')));
  const ran = await heddle(cluster.data, 'job', 'ls', '--json');
  assert.equal(ran.status, 0, ran.err);
});

test('the serving process ends when its launcher is killed', async () => {
  const cluster = await up();
  cluster.child.kill('SIGKILL');
  await until('the orphan ends', () => !alive(cluster.pid));
  assert.ok(!existsSync(join(cluster.data, 'heddle.lock')), 'it drained');
});

test('a detached job goes on in the running cluster, and reproduces', async () => {
  const cluster = await up();
  const { data } = cluster;
  const started = await heddle(data, ...TRAIN, '--steps', '3', '--detach', '--json');
  assert.equal(started.status, 0, started.err);
  const { job } = JSON.parse(started.out) as { job: string };
  const watched = await heddle(data, 'job', 'watch', job, '--json');
  assert.equal(JSON.parse(watched.out).job.state, 'succeeded', watched.err);
  const again = await heddle(data, 'reproduce', job, '--json');
  assert.equal(again.status, 0, again.err);
  assert.equal(JSON.parse(again.out).equal, true);
  cluster.child.kill('SIGTERM');
  await finished(cluster.child);
});

test('Ctrl-C cancels the job that a command follows, and the status is 130', async () => {
  const cluster = await up();
  const { data } = cluster;
  const child = start(data, ...TRAIN, '--steps', '100000');
  let err = '';
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  await until('the job is named', () => /job (\S+)/.test(err));
  const id = /job (\S+)/.exec(err)?.[1] ?? '';
  await until('it runs', async () => (await jobOf(data, id)).state === 'running');
  child.kill('SIGINT');
  const [status] = await once(child, 'close');
  assert.equal(status, 130);
  assert.equal((await jobOf(data, id)).state, 'cancelled');
  cluster.child.kill('SIGTERM');
  await finished(cluster.child);
});

test('two commands at once on one directory both succeed', async () => {
  const data = freshData();
  const argv = ['run', GPT2, '--tokens', '1,2,3', '--hooks', '*', '--json'];
  const both = await Promise.all([heddle(data, ...argv), heddle(data, ...argv)]);
  for (const ran of both) assert.equal(ran.status, 0, ran.err);
});

test('services in two processes work together; what a process does not run it says', async () => {
  const activation = await up(['--services', 'activation']);
  const peers = { HEDDLE_PEERS: `activation=${activation.address}` };
  const lorsa = await up(['--services', 'lorsa'], peers);
  const trained = await heddle(lorsa.data, ...TRAIN, '--steps', '2', '--json');
  assert.equal(trained.status, 0, trained.err);
  assert.equal(JSON.parse(trained.out).summary.steps, 2);

  const elsewhere = await heddle(lorsa.data, 'tokens', 'a text', '--json');
  assert.equal(elsewhere.status, 1);
  assert.equal(JSON.parse(elsewhere.out).error.code, 'UNIMPLEMENTED');
  for (const { child } of [activation, lorsa]) {
    child.kill('SIGTERM');
    assert.equal((await finished(child)).status, 0);
  }
});
