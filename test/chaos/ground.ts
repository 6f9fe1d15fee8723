import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { jobBehaviour } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { type NatsStores, openNats } from '@heddle/adapters/nats';
import { connect, type Heddle } from '@heddle/client';
import {
  type Cluster,
  type ClusterProcess,
  type NatsServer,
  openProxy,
  SERVERS,
  type SmallDisk,
  silentLog,
  smallDisk,
  startCluster,
  startNats,
  type TcpProxy,
} from '@heddle/testkit';
import { judgeJournal, type Story } from './judge-journal.ts';

const UNFENCED = fileURLToPath(new URL('./unfenced-main.ts', import.meta.url));
export const ACK_WAIT_MS = 1_000;
/** Small enough to be filled in a moment, large enough for some jobs and their rubbish. */
const NATS_DISK_BYTES = 128 * 2 ** 20;
const BLOB_DISK_BYTES = 512 * 2 ** 20;

/** What works on jobs twice, so that another can take over; the rest once. */
const REPLICAS = [
  ['activation', 2],
  ['lorsa', 2],
  ['circuit', 2],
  ['qk', 2],
  ['attribution', 1],
  ['explorer', 1],
] as const;

export interface GroundOptions {
  /** Off, appends no longer check the expected sequence. */
  readonly fence?: boolean;
}

/** Counters of processes that are still to be read; those of a killed one are lost since they were last read. */
interface Tally {
  readonly redeliveries: number;
  readonly fenced: number;
}

/** One long-lived cluster of real processes, each behind a network of its own, over disks that can be filled. */
export class Ground {
  readonly cluster: Cluster;
  readonly heddle: Heddle;
  readonly nats: NatsServer;
  readonly disks: { readonly nats: SmallDisk; readonly blobs: SmallDisk };
  private readonly proxies: ReadonlyMap<string, TcpProxy>;
  private readonly stores: NatsStores;
  /** Processes by the names under which journals know their workers; of all their lives. */
  private readonly workers = new Map<string, ClusterProcess>();
  private readonly counted = new Map<string, Tally>();

  private constructor(parts: {
    readonly cluster: Cluster;
    readonly nats: NatsServer;
    readonly disks: Ground['disks'];
    readonly proxies: ReadonlyMap<string, TcpProxy>;
    readonly stores: NatsStores;
  }) {
    this.cluster = parts.cluster;
    this.nats = parts.nats;
    this.disks = parts.disks;
    this.proxies = parts.proxies;
    this.stores = parts.stores;
    this.heddle = connect(parts.cluster.address);
  }

  static async open({ fence = true }: GroundOptions = {}): Promise<Ground> {
    const disks = {
      nats: await smallDisk(NATS_DISK_BYTES),
      blobs: await smallDisk(BLOB_DISK_BYTES),
    };
    const nats = await startNats(SERVERS.natsCurrent, {
      store: join(disks.nats.path, 'store'),
      jetstream: 'max_file_store: 64GB', // what streams reserve is more than the disk has
    });
    const proxies = new Map<string, TcpProxy>();
    const target = Number(new URL(nats.url).port);
    const processes = [];
    for (const [service, count] of REPLICAS) {
      for (let i = 0; i < count; i++) {
        const name = count === 1 ? service : `${service}-${i}`;
        const proxy = await openProxy(target);
        proxies.set(name, proxy);
        processes.push({ services: [service], name, natsUrl: `nats://127.0.0.1:${proxy.port}` });
      }
    }
    const blobs = join(disks.blobs.path, 'blobs');
    await mkdir(blobs);
    const cluster = await startCluster({
      ...{ processes, nats, blobs, ackWaitMs: ACK_WAIT_MS },
      env: { HEDDLE_LOG_LEVEL: 'info' },
      ...(fence ? {} : { main: UNFENCED }),
    });
    const clock = systemClock;
    const stores = await openNats({ servers: [nats.url], clock, log: silentLog });
    const ground = new Ground({ cluster, nats, disks, proxies, stores });
    for (const process of cluster.processes) ground.learn(process);
    return ground;
  }

  proxyOf({ name }: ClusterProcess): TcpProxy {
    const proxy = this.proxies.get(name);
    if (proxy === undefined) throw new Error(`${name} has no network of its own`);
    return proxy;
  }

  async story(id: string): Promise<Story> {
    const events = await this.stores.journal.read(`job.${id}`);
    return judgeJournal(events.map(({ bytes }) => jobBehaviour.decode(bytes)));
  }

  /** Jobs of which there is a journal. */
  async jobs(): Promise<readonly string[]> {
    const streams = await this.stores.journal.streams('job.', 10_000);
    return streams.map((stream) => stream.slice('job.'.length));
  }

  /** Messages that wait or are in somebody's hands, and those that were given up. */
  async queued(kind: string): Promise<{ readonly left: number; readonly dead: number }> {
    const { queue } = this.stores;
    const { waiting, working } = await queue.depth(`tasks.${kind}`);
    const dead = await queue.deadLetters(`tasks.${kind}`, 100);
    return { left: waiting + working, dead: dead.length };
  }

  /** The process whose attempt this is; a claim is its worker's name and a number. */
  holderOf(claim: string): ClusterProcess | undefined {
    const worker = claim.slice(0, claim.lastIndexOf('.'));
    if (!this.workers.has(worker)) for (const each of this.cluster.processes) this.learn(each);
    return this.workers.get(worker);
  }

  /** Starts again what was killed, as a supervisor does. */
  async startAgain(process: ClusterProcess): Promise<void> {
    this.counted.delete(process.name); // its counters begin anew
    await process.start();
    this.learn(process);
  }

  /**
   * After its disk was full: a current nats-server writes no more to a stream that once could not be written, also when there is room again,
   * until it is started again; its whole health page says so. This is what whoever looks after it does.
   */
  async reviveNats(): Promise<void> {
    const health = await fetch(`${this.nats.monitor}/healthz`).catch(() => undefined);
    if (health?.status === 200) return;
    await this.nats.kill();
    await this.nats.restart();
  }

  /** Whatever a schedule that could not be finished has left broken is whole again. */
  async recover(): Promise<void> {
    for (const disk of [this.disks.nats, this.disks.blobs]) await disk.free();
    await this.reviveNats();
    for (const process of this.cluster.processes) {
      if (process.alive) process.signal('SIGCONT');
      this.proxyOf(process).heal();
      if (!process.alive) await this.startAgain(process);
    }
    await this.cluster.ready();
  }

  /** What was redelivered and fenced off since this was last asked. */
  async tally(): Promise<Tally> {
    const parts = await Promise.all(this.cluster.processes.map((process) => this.news(process)));
    return {
      redeliveries: parts.reduce((sum, part) => sum + part.redeliveries, 0),
      fenced: parts.reduce((sum, part) => sum + part.fenced, 0),
    };
  }

  async close(): Promise<void> {
    this.heddle.close();
    for (const proxy of this.proxies.values()) proxy.heal();
    await this.stores.close();
    await this.cluster.remove();
    await this.nats.remove();
    for (const proxy of this.proxies.values()) await proxy.close();
    await Promise.all([this.disks.nats.remove(), this.disks.blobs.remove()]);
  }

  private learn(process: ClusterProcess): void {
    for (const { worker } of process.log()) {
      if (typeof worker === 'string') this.workers.set(worker, process);
    }
  }

  private async news(process: ClusterProcess): Promise<Tally> {
    const text = process.alive ? await process.metrics() : '';
    const now = {
      redeliveries: sumOf(text, 'jobs_redeliveries_total'),
      fenced: sumOf(text, 'jobs_appends_fenced_total'),
    };
    const before = this.counted.get(process.name) ?? { redeliveries: 0, fenced: 0 };
    this.counted.set(process.name, now);
    return {
      redeliveries: now.redeliveries - before.redeliveries,
      fenced: now.fenced - before.fenced,
    };
  }
}

/** Over all labels of a series. */
function sumOf(metrics: string, name: string): number {
  return metrics
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
