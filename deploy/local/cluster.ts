// The whole cluster as plain processes on this machine: a NATS server, an object store, five services and the front door.
//   npm run cluster                 stays until Ctrl-C; what it knows stays in .heddle/cluster (or HEDDLE_DATA/cluster)
//   npm run cluster -- --exit       runs the main job on it, through gRPC, and ends with its exit status

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NATS_VERSION_MIN } from '@heddle/adapters/nats';
import { listens, stablePort } from '@heddle/testkit';
import { findProgram } from './find-program.ts';
import { claim, endLeftover } from './leftovers.ts';
import { Supervised } from './supervised.ts';

const SCRIPT = fileURLToPath(import.meta.url);
const HEDDLE = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));
const SERVICES = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;
const FOLDER = resolve(process.env['HEDDLE_DATA'] ?? '.heddle', 'cluster');
const LOGS = join(FOLDER, 'logs');
/** Where people look first; when they are taken, others. */
const DOOR_PORTS = [7411, 7412] as const;

type Variables = Readonly<Record<string, string>>;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const started: Supervised[] = [];

/** Starts a program and remembers it, so that it is stopped in the opposite order. */
async function run(
  name: string,
  command: readonly string[],
  ready: () => Promise<boolean>,
  env: Variables = {},
): Promise<void> {
  const logFile = join(LOGS, `${name}.log`);
  const program = new Supervised({ name, command, env, logFile, ready }, say);
  started.push(program);
  await program.start();
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
}

async function startNats(): Promise<Variables> {
  const min = NATS_VERSION_MIN;
  const { found, tooOld } = findProgram('nats-server', '-v', min);
  if (found === undefined) {
    const old = tooOld.map(({ path, version }) => `; ${path} is ${version}`).join('');
    throw new Error(
      `no nats-server ${min} or newer is on PATH${old}. Build one with Go: npm run servers; or take one of https://github.com/nats-io/nats-server/releases`,
    );
  }
  const [port, monitorPort] = [await stablePort(), await stablePort()];
  const store = join(FOLDER, 'nats');
  const [config, pidFile] = [join(FOLDER, 'nats.conf'), join(FOLDER, 'nats.pid')];
  await endLeftover(pidFile, config);
  writeFileSync(config, `jetstream { store_dir: "${store}", sync_interval: always }\n`);
  const where = ['-a', '127.0.0.1', '-p', `${port}`, '-m', `${monitorPort}`];
  const monitor = `http://127.0.0.1:${monitorPort}`;
  await run('nats', [found.path, ...where, '-c', config, '-P', pidFile], () =>
    answers(`${monitor}/healthz?js-enabled-only=true`),
  );
  const url = `nats://127.0.0.1:${port}`;
  say(`  NATS          ${url}  (${found.path}, ${found.version})`);
  return { HEDDLE_NATS: url, HEDDLE_NATS_MONITORS: monitor };
}

/** An S3 server, where there is one; else what NATS has. */
async function startBlobs(): Promise<Variables> {
  const { found } = findProgram('versitygw', '--version');
  if (found === undefined) {
    say(
      "  blobs         JetStream's object store, because there is no versitygw (npm run servers)",
    );
    return { HEDDLE_BLOBS: 'nats' };
  }
  const [store, notes] = [join(FOLDER, 's3'), join(FOLDER, 'notes-of-s3')];
  for (const folder of [store, notes]) mkdirSync(folder, { recursive: true });
  const pidFile = join(FOLDER, 's3.pid');
  await endLeftover(pidFile, store);
  const port = await stablePort();
  const keys = { AWS_ACCESS_KEY_ID: 'heddle', AWS_SECRET_ACCESS_KEY: 'only-on-this-machine' };
  const who = ['--access', keys.AWS_ACCESS_KEY_ID, '--secret', keys.AWS_SECRET_ACCESS_KEY];
  const listen = ['--port', `127.0.0.1:${port}`, '--quiet', '--keep-alive'];
  // The shell writes down the number that the server then has.
  const shell = ['sh', '-c', `echo $$ > "$0" && exec "$@"`, pidFile];
  const command = [...shell, found.path, ...who, ...listen, 'posix', '--sidecar', notes, store];
  await run('s3', command, () => listens(port));
  const endpoint = `http://127.0.0.1:${port}`;
  say(`  blobs         s3://heddle at ${endpoint}  (${found.path}, ${found.version})`);
  return { ...keys, HEDDLE_BLOBS: 's3://heddle', HEDDLE_S3_ENDPOINT: endpoint };
}

async function startService(
  name: string,
  [port, httpPort]: readonly [number, number],
  env: Variables,
): Promise<void> {
  const args = ['up', '--services', name, '--port', `${port}`];
  const node = [process.execPath, ...process.execArgv, HEDDLE, ...args];
  // It serves its pages when its services stand.
  await run(name, node, () => answers(`http://127.0.0.1:${httpPort}/metrics`), {
    ...env,
    HEDDLE_SERVER: '',
    HEDDLE_DATA: join(FOLDER, name),
    HEDDLE_HTTP_PORT: `${httpPort}`,
  });
  say(`  ${name.padEnd(13)} 127.0.0.1:${port}`);
}

/** The whole cluster; resolves to where it is entered. */
async function start(): Promise<{ readonly address: string; readonly page: string }> {
  mkdirSync(LOGS, { recursive: true });
  claim(join(FOLDER, 'cluster.pid'), SCRIPT);
  say('starting a cluster of plain processes');
  const stores = { ...(await startNats()), ...(await startBlobs()) };
  const places = new Map<string, readonly [number, number]>();
  for (const name of SERVICES) places.set(name, [await stablePort(), await stablePort()]);
  const peers = [...places].map(([name, [port]]) => `${name}=127.0.0.1:${port}`).join(',');
  await Promise.all(
    [...places].map(([name, ports]) =>
      startService(name, ports, { ...stores, HEDDLE_PEERS: peers }),
    ),
  );
  const isTaken = await Promise.all(DOOR_PORTS.map(listens));
  const door = isTaken.some(Boolean)
    ? ([await stablePort(), await stablePort()] as const)
    : DOOR_PORTS;
  await startService('explorer', door, { HEDDLE_PEERS: peers });
  return { address: `127.0.0.1:${door[0]}`, page: `http://127.0.0.1:${door[1]}/` };
}

/** Services first, all at once, so that they can save what they work on; then what they save it in. */
async function stop(): Promise<void> {
  const isStore = ({ name }: Supervised): boolean => name === 'nats' || name === 's3';
  const of = (stores: boolean) => started.filter((program) => isStore(program) === stores);
  await Promise.all(of(false).map((program) => program.stop()));
  await Promise.all(of(true).map((program) => program.stop()));
}

/** Resolves at the first signal; at the second everything ends at once. */
function untilTold(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let first = 0;
  const hear = (): void => {
    const now = performance.now();
    if (first === 0) {
      first = now;
      resolve();
    } else if (now - first > 500) {
      // npm and the launcher pass the same key press on: that is not a second one.
      for (const program of started) program.kill();
      process.exit(130);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, hear);
  return promise;
}

async function mainJob(address: string): Promise<number> {
  const node = [process.execPath, ...process.execArgv] as const;
  const [program, ...args] = [...node, HEDDLE, 'tour', '--exit', '--server', address];
  const tour = spawn(program, args, { stdio: 'inherit' });
  const [code] = (await once(tour, 'exit')) as [number | null];
  return code ?? 1;
}

const told = untilTold();
try {
  const up = start();
  up.catch(() => undefined); // told below, unless a signal comes first
  const place = await Promise.race([up, told]);
  if (place !== undefined) {
    say(`\nthe cluster is up
  gRPC          ${place.address}    heddle --server ${place.address} …
  page          ${place.page}
  logs          ${relative('.', LOGS) || LOGS}`);
    if (process.argv.includes('--exit')) {
      process.exitCode = (await Promise.race([mainJob(place.address), told])) ?? 130;
    } else {
      say('  stop          Ctrl-C\n');
      await told;
    }
  }
} catch (thrown) {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
if (started.length > 0) say('stopping: services save and hand their jobs back');
await stop();
process.exit();
