import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stablePort } from '../cluster/stable-port.ts';
import { type Launched, launchCommand } from '../processes/launch.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { type ServerProgram, serverPath } from './binaries.ts';
import { freePort } from './free-port.ts';
import { untilUp } from './until-up.ts';

export interface NatsServer {
  readonly url: string;
  readonly monitor: string;
  /** Where its streams lie as files. */
  readonly streams: string;
  /** `SIGKILL` and its end. */
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
  /** The same files and ports again, after `kill`. */
  restart(): Promise<void>;
  /** Ends it and removes its files. */
  remove(): Promise<void>;
}

interface NatsServerOptions {
  /** Lines of the configuration's `jetstream` block. */
  readonly jetstream?: string;
  /** Where its streams lie (a disk of a test's own); default: in its temporary folder. */
  readonly store?: string;
  /** More of the configuration, outside of that block: accounts, TLS. */
  readonly config?: string;
  /** Of its environment, which a configuration may take values from. */
  readonly env?: Readonly<Record<string, string>>;
  /** More of the command line. */
  readonly args?: readonly string[];
  /** Where it listens: an address of loopback and its ports. */
  readonly at?: { readonly host: string; readonly port: number; readonly monitorPort: number };
}

/**
 * What streams reserve together, of which tests use little. A server's own bound is three quarters of the disk that is free, and
 * where that is less than twenty GiB no stream could be made after the first ones.
 */
const FILE_STORE_MOST = 'max_file_store: 256GB';

/** A real `nats-server` with JetStream in a temporary folder, ready when this resolves. */
export async function startNats(
  program: ServerProgram,
  options: NatsServerOptions = {},
): Promise<NatsServer> {
  const server = await prepare(program, options);
  await server.restart();
  return server;
}

/**
 * A cluster on loopback, ready when every server has a leader for its streams. `isApart`: the servers have an address each and
 * the same ports, as pods have.
 */
export async function startNatsCluster(
  program: ServerProgram,
  size: number,
  { isApart = false }: { readonly isApart?: boolean } = {},
): Promise<NatsServer[]> {
  const [port, monitorPort] = [await stablePort(), await stablePort()];
  const places = await Promise.all(
    Array.from({ length: size }, async (_, i) => {
      const host = isApart ? `127.0.0.${i + 1}` : '127.0.0.1';
      return { host, route: `nats://${host}:${await freePort()}` };
    }),
  );
  const routes = places.map(({ route }) => route).join(',');
  const servers = await Promise.all(
    places.map(({ host, route }, i) => {
      const listen = ['--cluster_name', 'heddle-test', '--cluster', route];
      const args = ['-n', `server${i}`, ...listen, '--routes', routes];
      return prepare(program, { args, ...(isApart ? { at: { host, port, monitorPort } } : {}) });
    }),
  );
  await Promise.all(servers.map((server) => server.restart()));
  return servers;
}

async function prepare(
  program: ServerProgram,
  { args = [], jetstream = '', config: more = '', env = {}, store: given, at }: NatsServerOptions,
): Promise<NatsServer> {
  const folder = await temporaryFolder();
  const { host, port, monitorPort } = at ?? {
    host: '127.0.0.1',
    port: await stablePort(),
    monitorPort: await stablePort(),
  };
  const monitor = `http://${host}:${monitorPort}`;
  const store = given ?? join(folder.path, 'store');
  const config = join(folder.path, 'nats.conf');
  const most = jetstream.includes('max_file_store') ? '' : FILE_STORE_MOST;
  const block = `jetstream { store_dir: "${store}"\n${most}\n${jetstream}\n}`;
  await writeFile(config, `${block}\n${more}\n`);
  const where = ['-a', host, '-p', `${port}`, '-m', `${monitorPort}`, '-c', config];
  let running: Launched | undefined;
  const kill = async (): Promise<void> => {
    running?.kill('SIGKILL');
    await running?.exited;
  };
  return {
    url: `nats://${host}:${port}`,
    monitor,
    streams: join(store, 'jetstream', '$G', 'streams'),
    kill,
    pause: () => running?.kill('SIGSTOP'),
    resume: () => running?.kill('SIGCONT'),
    restart: async () => {
      const started = launchCommand([serverPath(program), ...where, ...args], { env });
      running = started;
      await untilUp(`nats-server on ${port}`, started, () => isHealthy(monitor));
    },
    remove: async () => {
      await kill();
      await folder.remove();
    },
  };
}

async function isHealthy(monitor: string): Promise<boolean> {
  try {
    return (
      await fetch(`${monitor}/healthz?js-enabled-only=true`, { signal: AbortSignal.timeout(1_000) })
    ).ok;
  } catch {
    return false;
  }
}
