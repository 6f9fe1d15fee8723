import { totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { LocalEvents } from '@heddle/adapters/events';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { grpcMetrics, openChannel, type RunningServer, serve } from '@heddle/adapters/grpc';
import { folderHub, loadConfig, loadModel, openWeights, programOf } from '@heddle/adapters/hub';
import { type LogLevel, pinoLog } from '@heddle/adapters/log';
import { PromMetrics } from '@heddle/adapters/prom';
import { openSqlite } from '@heddle/adapters/sqlite';
import { loadTokenizer } from '@heddle/adapters/tokenizers';
import type { BringUpOptions, LocalCluster } from '@heddle/cli';
import { OperationError } from '@heddle/core';
import type { Clients, Kernels, Log } from '@heddle/ports';
import type { Config } from './config.ts';
import { DataLock } from './data-lock.ts';
import { jobHandlers } from './job-handlers.ts';
import { lazyEngine } from './lazy-engine.ts';
import { parentGone } from './orphan.ts';
import type { ServiceDeps } from './service-deps.ts';
import { createServices } from './service-modules.ts';
import { standUp } from './standing.ts';

const BUNDLED_MODEL = fileURLToPath(new URL('../../../libs/models/bundled', import.meta.url));
const VERSION = '0.1.0';
/** More only wait for each other's memory traffic; results do not depend on it. */
const KERNEL_THREADS_MAX = 64;

/** What was opened, closed in the opposite order; every closer runs, the first failure is told. */
class Closers {
  private readonly closers: (() => Promise<unknown>)[] = [];

  add(close: () => Promise<unknown>): void {
    this.closers.push(close);
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.closers.splice(0).reverse()) {
      try {
        await close();
      } catch (thrown) {
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** All services in this process: real gRPC on loopback, everything kept under one directory. */
export async function bringUp(options: BringUpOptions, config: Config): Promise<LocalCluster> {
  const closers = new Closers();
  try {
    const lock = await DataLock.acquire(options.dataDirectory);
    closers.add(() => lock.release());
    const log = openLog(options, config);
    const metrics = new PromMetrics();
    metrics.register(grpcMetrics());
    const server = await listen(options, config, { log, metrics });
    closers.add(() => server.close(0));
    const { deps, closeStores } = await openStores(options, config, { log, metrics, server });
    closers.add(closeStores);
    const services = await createServices(options.contracts, deps);
    for (const service of services) {
      metrics.register(service.metrics);
      for (const kind of service.jobKinds) deps.jobs.register(kind);
      closers.add(() => service.close());
      server.add(service.handlers);
    }
    await deps.jobs.start();
    closers.add(() => deps.jobs.stop(0));
    server.add({ jobs: jobHandlers(deps.jobs, deps.blobs) });
    server.ready();
    const address = `${server.host}:${server.port}`;
    const pages = options.standing ? await standUp(config, deps, options.contracts) : undefined;
    if (pages !== undefined) closers.add(pages.close);
    await lock.announce(address);
    log.info('up', { address, pages: pages?.url, services: options.contracts });
    return {
      address,
      pages: pages?.url,
      abandoned: parentGone(),
      close: async (graceMs) => {
        await lock.announce('');
        await pages?.close();
        // Together: a job that waits for a call and a call that waits for a job must not wait for each other.
        await Promise.allSettled([server.close(graceMs), deps.jobs.stop(graceMs)]);
        await closers.close();
        log.info('down');
      },
    };
  } catch (thrown) {
    await closers.close().catch(() => undefined);
    throw thrown;
  }
}

function openLog({ log }: BringUpOptions, { logLevel }: Config): Log {
  const level: LogLevel = logLevel ?? (log ? 'info' : 'silent');
  return pinoLog({ level, fields: { pid: process.pid } });
}

/** The port that was asked for; or the usual one of a standing cluster if it is free; or any. */
async function listen(
  { port, standing }: BringUpOptions,
  { host, grpcPort }: Config,
  rest: { readonly log: Log; readonly metrics: PromMetrics },
): Promise<RunningServer> {
  if (port !== undefined || !standing) return serve({ host, port: port ?? 0, ...rest });
  try {
    return await serve({ host, port: grpcPort, ...rest });
  } catch (thrown) {
    if (OperationError.from(thrown).code !== 'unavailable') throw thrown;
    return serve({ host, port: 0, ...rest });
  }
}

/** Of the machine, or of the container that this process is in. */
function memoryBytes(): number {
  return Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
}

interface Opened {
  readonly log: Log;
  readonly metrics: PromMetrics;
  readonly server: RunningServer;
}

/** Clients of every contract: on this server, or where the configuration says that it is answered. */
function openPeers(
  own: string,
  elsewhere: Config['peers'],
): Pick<ServiceDeps, 'jobsOf'> & { readonly clients: Clients; close(): void } {
  const here = openChannel(own);
  const others = [...elsewhere].map(([name, address]) => [name, openChannel(address)] as const);
  const clients = others.map(([name, channel]) => [name, channel.clients[name]] as const);
  return {
    clients: { ...here.clients, ...Object.fromEntries(clients) },
    jobsOf: (contract) => {
      const other = others.find(([name]) => name === contract);
      return (other?.[1] ?? here).clients.jobs;
    },
    close: () => {
      for (const channel of [here, ...others.map(([, other]) => other)]) channel.close();
    },
  };
}

async function openStores(
  { dataDirectory, standing }: BringUpOptions,
  config: Config,
  { log, metrics, server }: Opened,
): Promise<{ deps: ServiceDeps; closeStores: () => Promise<void> }> {
  const clock = systemClock;
  const events = new LocalEvents();
  const versions = { heddle: VERSION, node: process.versions.node };
  const sqlite = openSqlite(join(dataDirectory, 'heddle.sqlite'), {
    clock,
    bytesMax: config.journalBytesMax,
    soleOwner: true, // the data lock says so: who held messages was killed, and its jobs go on at once
  });
  const { journal, queue } = sqlite;
  const blobs = await DirectoryBlobs.open(join(dataDirectory, 'blobs'), {
    bytesMax: config.blobsBytesMax,
  });
  const engine = lazyEngine(async () => {
    const { OrtEngine } = await import('@heddle/adapters/ort');
    const { providers, engineThreads: threads, engineCacheBytes: cacheBytes } = config;
    return OrtEngine.start({ providers, threads, cacheBytes });
  });
  let kernels: Promise<Kernels> | undefined;
  const openKernels = () => {
    kernels ??= import('@heddle/adapters/kernels').then(
      ({ WasmKernels }) =>
        new WasmKernels({ threads: Math.min(config.engineThreads, KERNEL_THREADS_MAX) }),
    );
    return kernels;
  };
  const onStuck = (job: string, why: string) => {
    log.error('a task cannot be stopped; its job goes on when this directory is served again', {
      job,
      why,
    });
    // Native code cannot be interrupted. A standing process ends, so that whoever keeps it up starts a sound one.
    if (standing) process.exit(1);
  };
  const ports = { journal, queue, blobs, clock, log, metrics, events };
  const budgetMax = { bytes: config.jobBytesMax ?? memoryBytes() };
  const jobs = new JobRuntime({ ...ports, versions, onStuck, budgetMax });
  const peers = openPeers(`${server.host}:${server.port}`, config.peers);
  const roots = config.modelRoots.length === 0 ? 'any' : [...config.modelRoots, BUNDLED_MODEL];
  const deps: ServiceDeps = {
    engine,
    kernels: openKernels,
    hub: folderHub({ roots }),
    store: {
      config: loadConfig,
      load: (folder) => loadModel(folder),
      program: programOf,
      openWeights,
    },
    openTokenizer: loadTokenizer,
    blobs,
    journal,
    clock,
    log,
    metrics,
    events,
    jobs,
    peers: peers.clients,
    jobsOf: peers.jobsOf,
    dataDirectory,
    bundledModel: BUNDLED_MODEL,
    versions,
  };
  const closeStores = async () => {
    peers.close();
    await engine.close();
    await sqlite.close();
  };
  return { deps, closeStores };
}
