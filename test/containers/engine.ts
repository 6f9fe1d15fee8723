// A container engine and docker compose for the tests of this folder, where an administrator of a Debian machine may make them:
//   node test/containers/engine.ts start     what answers already is taken as it is
//   node test/containers/engine.ts stop      ends the engine that `start` started, and no other
// Ends with 1, and says why, where none can be had; the tests then skip with the same words.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serversFolder } from '@heddle/testkit';
import { fetchCompose } from './compose-program.ts';
import { docker, missingEngine } from './docker.ts';

const PACKAGES = ['docker.io', 'debootstrap'];
/** It answers within a second on an idle machine. */
const START_MS = 120_000;
const STOP_MS = 60_000;
const POLL_MS = 100;
/** Packages are installed once in this time, not with every run. */
const LAYERS_KEPT = '72h';

const folder = serversFolder();
const [pidFile, logFile] = [join(folder, 'dockerd.pid'), join(folder, 'dockerd.log')];
const say = (line: string): boolean => process.stdout.write(`${line}\n`);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function has(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/** Undefined when the packages are there, else why not. */
function install(): string | undefined {
  if (has('dockerd') && has('debootstrap')) return undefined;
  if (!has('apt-get')) return 'no dockerd, and no apt-get to install it with';
  const run = (...args: string[]) =>
    spawnSync('apt-get', args, {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      encoding: 'utf8',
    });
  run('-qq', 'update');
  const { status, stderr } = run('-qq', 'install', '-y', '--no-install-recommends', ...PACKAGES);
  return status === 0 ? undefined : `apt-get install ${PACKAGES.join(' ')}: ${stderr.trim()}`;
}

function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'dockerd';
  } catch {
    return false;
  }
}

/** Whether the engine that answers is one that an earlier `start` has started. */
function isOurs(): boolean {
  return existsSync(pidFile) && isAlive(Number(readFileSync(pidFile, 'utf8')));
}

async function start(): Promise<string | undefined> {
  mkdirSync(folder, { recursive: true });
  const missing = await missingEngine();
  if (missing === undefined) {
    // Ours, of a run that was killed: what ran in it still does.
    if (isOurs()) await clean();
    return undefined;
  }
  // A second dockerd beside one that answers elsewhere would take its bridge away.
  if (process.env['DOCKER_HOST']) return `${missing} (DOCKER_HOST=${process.env['DOCKER_HOST']})`;
  if (process.getuid?.() !== 0) return `${missing}; only an administrator can start one`;
  if (spawnSync('pgrep', ['-x', 'dockerd']).status === 0) return `${missing}, but a dockerd runs`;
  const failed = install();
  if (failed !== undefined) return `${missing}; ${failed}`;
  const log = openSync(logFile, 'w');
  const daemon = spawn('dockerd', [], { detached: true, stdio: ['ignore', log, log] });
  daemon.on('error', () => undefined);
  writeFileSync(pidFile, `${daemon.pid}`);
  daemon.unref();
  for (const until = Date.now() + START_MS; Date.now() < until; await pause(POLL_MS)) {
    if ((await missingEngine()) === undefined) return undefined;
    if (daemon.pid === undefined || !isAlive(daemon.pid)) break;
  }
  const said = readFileSync(logFile, 'utf8').trim().split('\n').slice(-3).join(' ');
  return `no container engine: dockerd did not answer: ${said}`;
}

/** What a test that was killed has left, and layers that no build has used for days. */
async function clean(): Promise<void> {
  for (const label of ['org.testcontainers=true', 'com.docker.compose.project']) {
    const left = await docker('ps', '-aq', '--filter', `label=${label}`);
    if (left !== '') await docker('rm', '-fv', ...left.split('\n'));
  }
  await docker('network', 'prune', '-f');
  await docker('image', 'prune', '-f', '--filter', `until=${LAYERS_KEPT}`);
}

async function stop(): Promise<void> {
  let pid: number;
  try {
    pid = Number(readFileSync(pidFile, 'utf8'));
  } catch {
    say('no engine of ours runs');
    return;
  }
  if (!isAlive(pid)) return rmSync(pidFile, { force: true });
  await clean().catch((thrown: unknown) => say((thrown as Error).message));
  process.kill(pid, 'SIGTERM');
  for (const until = Date.now() + STOP_MS; isAlive(pid) && Date.now() < until; )
    await pause(POLL_MS);
  rmSync(pidFile, { force: true });
}

if (process.argv[2] === 'stop') {
  await stop();
} else {
  const failure = await start();
  if (failure === undefined) {
    say(`container engine ${await docker('version', '--format', '{{.Server.Version}}')}`);
    say(await fetchCompose());
  } else {
    say(failure);
    process.exitCode = 1;
  }
}
