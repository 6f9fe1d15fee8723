import { totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type JobKind, JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import {
  grpcMetrics,
  patientClients,
  type RunningServer,
  type ServeOptions,
  serve,
} from '@heddle/adapters/grpc';
import { folderHub, loadConfig, loadModel, openWeights, programOf } from '@heddle/adapters/hub';
import { PromMetrics } from '@heddle/adapters/prom';
import { loadTokenizer } from '@heddle/adapters/tokenizers';
import type { BringUpOptions, LocalCluster } from '@heddle/cli';
import { OperationError, VERSION } from '@heddle/core';
import type { Log, Tracing } from '@heddle/ports';
import { Closers } from './closers.ts';
import { openCompute } from './compute.ts';
import type { Config } from './config.ts';
import { DataLock } from './data-lock.ts';
import { openFrontDoor } from './front-door.ts';
import type { RunningHttp } from './http-pages.ts';
import { jobHandlers } from './job-handlers.ts';
import { JobWaits } from './job-waits.ts';
import { type ModelContent, openModelContent } from './model-content.ts';
import { parentGone } from './orphan.ts';
import { openPeers } from './peers.ts';
import { meterProcess, meterSpans, watchSizes } from './process-meters.ts';
import { openQuotas } from './quotas.ts';
import { openSecurity, type Security } from './security.ts';
import type { ServiceDeps } from './service-deps.ts';
import { createServices } from './service-modules.ts';
import { standUp } from './standing.ts';
import { describeStores } from './store-config.ts';
import { watchStores } from './store-health.ts';
import { openStores, type Stores } from './stores.ts';
import { openTelling } from './tracing.ts';

const BUNDLED_MODEL = fileURLToPath(new URL('../../../libs/models/bundled', import.meta.url));

/** What a test harness puts between a process and its stores. */
export interface Extensions {
  readonly wrapStores?: (stores: Stores) => Stores;
}

/** What every process has, whatever it serves. */
export interface Opened {
  readonly options: BringUpOptions;
  readonly config: Config;
  readonly log: Log;
  readonly tracing: Tracing | undefined;
  readonly metrics: PromMetrics;
  readonly server: RunningServer;
  readonly security: Security;
  readonly closers: Closers;
}

/** The services of this process on one gRPC server, over its own stores or those that a cluster shares. */
export async function bringUp(
  options: BringUpOptions,
  config: Config,
  extensions: Extensions = {},
): Promise<LocalCluster> {
  const closers = new Closers();
  try {
    const lock = await DataLock.acquire(options.dataDirectory);
    closers.add(() => lock.release());
    const { log, tracing, spans, close: closeTelling } = await openTelling(options, config);
    closers.add(closeTelling);
    if (config.unread.length > 0) {
      log.warn('the environment has variables that nothing reads: misspelt?', {
        variables: config.unread,
      });
    }
    const metrics = new PromMetrics();
    metrics.register(grpcMetrics());
    const found = await openSecurity(config, log);
    closers.add(async () => found.close());
    const security = { ...found, channel: { ...found.channel, tracing } };
    const who = { callers: security.callers, security: security.server };
    const server = await listen(options, config, { log, metrics, tracing, ...who });
    closers.add(() => server.close(0));
    meterProcess(metrics, server, security);
    meterSpans(metrics, spans);
    const opened = { options, config, log, tracing, metrics, server, security, closers };
    const { pages, stop } = options.frontDoor
      ? await openFrontDoor(opened)
      : await openServices(opened, extensions);
    const address = `${security.scheme}${server.host}:${server.port}`;
    server.ready();
    await lock.announce(address);
    const services = options.frontDoor ? ['explorer'] : options.contracts;
    // A front door has none.
    const stores = options.frontDoor ? {} : describeStores(config.stores, options.dataDirectory);
    log.info('up', { address, pages: pages?.url, services, ...stores });
    return {
      address,
      access: { ...found.channel, key: server.key },
      pages: pages?.url,
      abandoned: parentGone(),
      close: async (graceMs) => {
        await lock.announce('');
        metrics.set('heddle_draining', 1);
        // Together: a job that waits for a call and a call that waits for a job must not wait for each other.
        await Promise.allSettled([server.close(graceMs), stop(graceMs)]);
        await pages?.close(); // last: /readyz says what is going on, and what a drain did is still scraped
        await closers.close();
        log.info('down');
      },
    };
  } catch (thrown) {
    await closers.close().catch(() => undefined);
    throw thrown;
  }
}

/** What a process serves, when it stands. */
export interface Stood {
  readonly pages: RunningHttp | undefined;
  /** Hands back what it works on. */
  stop(graceMs: number): Promise<unknown>;
}

/** A service waits for its peers in its jobs; pages and callers are told. */
const patientPeers = (deps: ServiceDeps): ServiceDeps => ({
  ...deps,
  peers: patientClients(deps.peers, deps.clock),
  jobsOf: (contract) => patientClients({ jobs: deps.jobsOf(contract) }, deps.clock).jobs,
});

async function openServices(opened: Opened, extensions: Extensions): Promise<Stood> {
  const { options, closers } = opened;
  const { deps, models } = await openDeps(opened, extensions);
  const stands = new AbortController();
  await startServices(opened, deps, stands.signal);
  const pages = options.standing ? await standUp(opened, deps, options.contracts) : undefined;
  if (pages !== undefined) closers.add(pages.close);
  // After the pages: /metrics says how far it is.
  await models.prefetch(options.signal ?? new AbortController().signal);
  stands.abort('stands');
  return { pages, stop: (graceMs) => deps.jobs.stop(graceMs) };
}

/** Between saying that it stops and taking no more calls: what whoever watches its health needs to hear it. */
const NOTICE_MS = 300;

/** The port that was asked for; or the usual one of a standing cluster if it is free; or any. */
async function listen(
  { port, standing }: BringUpOptions,
  { host, grpcPort }: Config,
  more: Omit<ServeOptions, 'host' | 'port' | 'starting'>,
): Promise<RunningServer> {
  const rest = { ...more, starting: true, ...(standing === true ? { noticeMs: NOTICE_MS } : {}) };
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

async function openDeps(
  opened: Opened,
  { wrapStores }: Extensions,
): Promise<{ readonly deps: ServiceDeps; readonly models: ModelContent }> {
  const { options, config, log, metrics, server, security, closers } = opened;
  const { dataDirectory, contracts, signal = new AbortController().signal } = options;
  const clock = systemClock;
  const found = await openStores(config, { dataDirectory, clock, log, metrics, signal });
  closers.add(found.close);
  const stores = wrapStores?.(found) ?? found;
  const { engine, kernels } = openCompute(config, { metrics, clock });
  closers.add(() => engine.close());
  const peers = openPeers({
    own: `${server.host}:${server.port}`,
    elsewhere: config.peers,
    answered: contracts,
    ownChannel: { ...security.channel, key: server.key },
    channel: security.channel,
  });
  closers.add(async () => peers.close());
  const versions = { heddle: VERSION, node: process.versions.node };
  const roots = config.modelRoots.length === 0 ? 'any' : [...config.modelRoots, BUNDLED_MODEL];
  const { journal, queue, events, blobs } = stores;
  const ports = { journal, queue, events, blobs, clock, log, metrics };
  const shared = config.stores.nats !== undefined;
  const models = await openModelContent({
    ...{ dataDirectory, config: config.models, shared, folders: folderHub({ roots }), ...ports },
  });
  closers.add(() => models.close());
  const { hub, imports } = models;
  const deps: ServiceDeps = {
    ...ports,
    callers: security.callers,
    tracing: opened.tracing,
    jobs: openJobs(opened, { ...ports, roots: models.roots }, versions),
    engine,
    kernels,
    hub,
    distribution: { imports, events, shared },
    store: {
      config: loadConfig,
      load: (folder) => loadModel(folder),
      program: programOf,
      openWeights,
    },
    openTokenizer: loadTokenizer,
    peers: peers.clients,
    jobsOf: peers.jobsOf,
    dataDirectory,
    bundledModel: BUNDLED_MODEL,
    versions,
  };
  return { deps, models };
}

type JobPorts = Stores &
  Pick<ServiceDeps, 'clock' | 'log' | 'metrics'> &
  Pick<ModelContent, 'roots'>;

function openJobs(
  { options, config, log, tracing, security: { callers } }: Opened,
  ports: JobPorts,
  versions: ServiceDeps['versions'],
): JobRuntime {
  const onStuck = (job: string, why: string) => {
    log.error('a task cannot be stopped; its job goes on elsewhere, or after the next start', {
      job,
      why,
    });
    // Native code cannot be interrupted. A standing process ends, so that whoever keeps it up starts a sound one.
    if (options.standing) process.exit(1);
  };
  const budgetMax = { bytes: config.jobBytesMax ?? memoryBytes() };
  const quotas = openQuotas(config.quotasFile, ports);
  const { windowTasks } = config;
  const limits = { budgetMax, quotas, windowTasks };
  return new JobRuntime({ ...ports, ...limits, versions, onStuck, callers, tracing });
}

/** Makes the services, answers their contracts, takes up their jobs, and keeps an eye on the stores. */
async function startServices(
  opened: Opened,
  deps: ServiceDeps,
  stands: AbortSignal,
): Promise<void> {
  const { options, config, metrics, server, closers, log } = opened;
  const { jobs, clock } = deps;
  for (const service of await createServices(options.contracts, patientPeers(deps))) {
    metrics.register(service.metrics);
    for (const kind of service.jobKinds) jobs.register(configured(kind, config));
    closers.add(() => service.close());
    server.add(service.handlers);
  }
  await jobs.start();
  closers.add(() => jobs.stop(0));
  const waits = new JobWaits();
  server.add({ jobs: jobHandlers(jobs, deps.blobs, waits) });
  const watching = new AbortController();
  const onChange = (isAnswering: boolean) => server.ready(isAnswering && stands.aborted);
  const onLook = (store: 'journal' | 'blobs', answered: boolean) => {
    metrics.set('stores_up', answered ? 1 : 0, { store });
    if (store === 'blobs') waits.set(answered ? '' : 'the blob store does not answer');
  };
  void watchStores({ stores: deps, clock, log, onChange, onLook }, watching.signal);
  const { journalBytesMax } = config;
  const { journal, dataDirectory } = deps;
  const natsMonitors = config.stores.nats?.monitors ?? [];
  const sizes = { journal, journalBytesMax, dataDirectory, natsMonitors, metrics, clock };
  void watchSizes(sizes, watching.signal);
  closers.add(async () => watching.abort('down'));
}

function configured(kind: JobKind, { ackWaitMs, works }: Config): JobKind {
  const wait = ackWaitMs === undefined ? {} : { ackWaitMs };
  const slots = works ? {} : { concurrency: 0 };
  return { ...kind, limits: { ...kind.limits, ...wait, ...slots } };
}
