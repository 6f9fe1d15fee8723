import { statfs } from 'node:fs/promises';
import type { RunningServer } from '@heddle/adapters/grpc';
import type { NatsStores } from '@heddle/adapters/nats';
import type { SpanCounts } from '@heddle/adapters/otel';
import type { PromMetrics } from '@heddle/adapters/prom';
import { VERSION } from '@heddle/core';
import type { Clock, Journal } from '@heddle/ports';
import {
  NATS_METRICS,
  NATS_SERVERS,
  PROCESS_METRICS,
  SPAN_OUTCOMES,
  TLS_METRICS,
} from './metrics.ts';
import type { Security } from './security.ts';

type Scraped = Pick<PromMetrics, 'register' | 'set' | 'add' | 'onScrape'>;

/** How often sizes are looked at: one is a request to NATS, and disks fill in minutes rather than seconds. */
const SIZES_EVERY_MS = 30_000;

/** What a process says of itself at each scrape. */
export function meterProcess(
  metrics: Scraped,
  server: Pick<RunningServer, 'isServing'>,
  { tls }: Pick<Security, 'tls'>,
): void {
  metrics.register(PROCESS_METRICS);
  metrics.set('heddle_build_info', 1, { version: VERSION, node: process.versions.node });
  metrics.onScrape(() => metrics.set('heddle_ready', server.isServing ? 1 : 0));
  if (tls === undefined) return;
  metrics.register(TLS_METRICS);
  metrics.onScrape(() => {
    metrics.set('heddle_certificate_expiry_seconds', tls.files.current.expiresMs / 1000);
  });
}

/** What became of spans, at each scrape. */
export function meterSpans(metrics: Scraped, spans: SpanCounts | undefined): void {
  if (spans === undefined) return;
  const counted = { sent: 0, lost: 0, dropped: 0 };
  metrics.onScrape(() => {
    for (const outcome of SPAN_OUTCOMES) {
      metrics.add('heddle_spans_total', spans[outcome] - counted[outcome], { outcome });
      counted[outcome] = spans[outcome];
    }
  });
}

/** The connection at each scrape, and once what was found when it was opened. */
export function meterNats(
  { connection, report }: Pick<NatsStores, 'connection' | 'report'>,
  metrics: Scraped,
): void {
  metrics.register(NATS_METRICS);
  metrics.set('nats_sync_always', report.sync.kind === 'always' ? 1 : 0);
  metrics.set('nats_journal_replicas', report.journal.replicas);
  let counted = 0;
  metrics.onScrape(() => {
    metrics.set('nats_connected', connection.isUp ? 1 : 0);
    metrics.add('nats_disconnects_total', connection.disconnects - counted);
    counted = connection.disconnects;
  });
}

export interface SizesOptions {
  readonly journal: Pick<Journal, 'bytes'>;
  readonly journalBytesMax: number;
  readonly dataDirectory: string;
  /** Monitoring addresses of NATS' servers; none without NATS. */
  readonly natsMonitors: readonly string[];
  readonly metrics: Pick<PromMetrics, 'set'>;
  readonly clock: Clock;
}

/** How full the journal and the disk of `--data` are, until the signal. A store that is away keeps its last size. */
export async function watchSizes(options: SizesOptions, signal: AbortSignal): Promise<void> {
  const { journal, journalBytesMax, dataDirectory, natsMonitors, metrics, clock } = options;
  metrics.set('stores_journal_limit_bytes', journalBytesMax);
  const looks = [
    async () => metrics.set('stores_journal_bytes', await journal.bytes()),
    async () => {
      const { bsize, bavail, blocks } = await statfs(dataDirectory);
      metrics.set('stores_scratch_free_bytes', bsize * bavail);
      metrics.set('stores_scratch_size_bytes', bsize * blocks);
    },
    ...natsMonitors
      .slice(0, NATS_SERVERS.length)
      .map((monitor, place) => () => lookAtNats(monitor, { server: `${place}` }, metrics)),
  ];
  while (!signal.aborted) {
    await Promise.allSettled(looks.map((look) => look()));
    await clock.sleep(SIZES_EVERY_MS, signal);
  }
}

async function lookAtNats(
  monitor: string,
  labels: { readonly server: string },
  metrics: Pick<PromMetrics, 'set'>,
): Promise<void> {
  const { readServerState } = await import('@heddle/adapters/nats');
  const state = await readServerState(monitor);
  metrics.set('nats_server_up', state === undefined ? 0 : 1, labels);
  if (state === undefined) return; // what it said last stands
  const shown: Readonly<Record<string, number>> = {
    nats_server_storage_bytes: state.storageBytes,
    nats_server_storage_reserved_bytes: state.reservedBytes,
    nats_server_storage_limit_bytes: state.storageBytesMax,
    nats_server_memory_bytes: state.memoryBytes,
    nats_server_connections: state.connections,
    nats_server_slow_consumers: state.slowConsumers,
  };
  for (const [name, value] of Object.entries(shown)) metrics.set(name, value, labels);
}
