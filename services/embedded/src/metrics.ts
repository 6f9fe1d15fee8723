import { VERSION } from '@heddle/core';
import type { MetricSpec, Provider } from '@heddle/ports';

const PROVIDERS: readonly Provider[] = ['cuda', 'webgpu', 'cpu'];

/** What becomes of a span that is recorded. */
export const SPAN_OUTCOMES = ['sent', 'lost', 'dropped'] as const;

/** More monitoring addresses than these are not looked at. */
export const NATS_SERVERS: readonly string[] = ['0', '1', '2', '3', '4', '5', '6', '7'];

/** What a process of a cluster says of itself, whatever it serves. */
export const PROCESS_METRICS: readonly MetricSpec[] = [
  {
    name: 'heddle_build_info',
    kind: 'gauge',
    unit: 'info',
    help: 'Always 1; which version of Heddle, on which Node, this process runs',
    labels: { version: [VERSION], node: [process.versions.node] },
  },
  {
    name: 'heddle_ready',
    kind: 'gauge',
    unit: 'flag',
    help: '1 while health says SERVING; 0 while it starts, drains, or its journal is away',
  },
  {
    name: 'heddle_draining',
    kind: 'gauge',
    unit: 'flag',
    help: '1 once the process was told to stop and hands back what it works on',
  },
  {
    name: 'heddle_spans_total',
    kind: 'counter',
    unit: 'spans',
    help: 'Spans of traces that ended here: sent, lost because nobody received them, dropped because too many waited; 0 where nothing is traced',
    labels: { outcome: SPAN_OUTCOMES },
  },
];

/** Only where HEDDLE_TLS_DIR is set. */
export const TLS_METRICS: readonly MetricSpec[] = [
  {
    name: 'heddle_certificate_expiry_seconds',
    kind: 'gauge',
    unit: 'seconds',
    help: 'When the certificate in use ends, in seconds since 1970',
  },
];

/** Operations of the ports that are timed, `<store>.<method>`. A front door has no stores. */
export const STORE_OPERATIONS = {
  journal: ['append', 'read', 'ends', 'remove'],
  queue: ['push', 'keys', 'depth'],
  blobs: ['put', 'get', 'read', 'stat', 'remove'],
} as const;

export const STORE_METRICS: readonly MetricSpec[] = [
  {
    name: 'stores_up',
    kind: 'gauge',
    unit: 'flag',
    help: '1 when the store answered the last look, every 5 s at the journal and every 15 s at blobs; the process is unready after 20 s without its journal',
    labels: { store: ['journal', 'blobs'] },
  },
  {
    name: 'stores_operations_total',
    kind: 'counter',
    unit: 'operations',
    help: 'Operations by how they ended; aborted is a lost race and not_found an answer, neither is a failure',
    labels: {
      operation: Object.entries(STORE_OPERATIONS).flatMap(([store, names]) =>
        names.map((name) => `${store}.${name}`),
      ),
      outcome: [
        'ok',
        'aborted',
        'not_found',
        'unavailable',
        'resource_exhausted',
        'data_loss',
        'other',
      ],
    },
  },
  {
    name: 'stores_operation_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time of one operation, also of one that failed',
    labels: {
      operation: Object.entries(STORE_OPERATIONS).flatMap(([store, names]) =>
        names.map((name) => `${store}.${name}`),
      ),
    },
    buckets: [0.0005, 0.002, 0.01, 0.05, 0.2, 1, 5, 15],
  },
  {
    name: 'stores_blob_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes of blobs written to the store and read from it, without local copies',
    labels: { direction: ['written', 'read'] },
  },
  {
    name: 'stores_journal_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'What the journal holds, of all services; looked at every 30 s',
  },
  {
    name: 'stores_journal_limit_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'What the journal may hold (HEDDLE_JOURNAL_GIB): past it every append is refused',
  },
  {
    name: 'stores_scratch_free_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Free on the disk of --data, where scratch and caches are; looked at every 30 s',
  },
  {
    name: 'stores_scratch_size_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Size of the disk of --data',
  },
];

/** Only with HEDDLE_NATS. */
export const NATS_METRICS: readonly MetricSpec[] = [
  {
    name: 'nats_connected',
    kind: 'gauge',
    unit: 'flag',
    help: '1 while the connection to a NATS server stands',
  },
  {
    name: 'nats_disconnects_total',
    kind: 'counter',
    unit: 'disconnects',
    help: 'Times that the connection to NATS broke',
  },
  {
    name: 'nats_sync_always',
    kind: 'gauge',
    unit: 'flag',
    help: '1 when every NATS server said, when this process started, that it syncs at every write; else a power cut can take appends back',
  },
  {
    name: 'nats_journal_replicas',
    kind: 'gauge',
    unit: 'replicas',
    help: 'Copies of the journal that this process found when it started',
  },
  ...natsServerMetrics(),
];

/** By the place of the server's monitoring address in HEDDLE_NATS_MONITORS; one name of several servers shows one at a time. */
function natsServerMetrics(): readonly MetricSpec[] {
  const labels = { server: NATS_SERVERS };
  const gauge = (name: string, unit: string, help: string): MetricSpec => ({
    ...{ name, kind: 'gauge', unit, help, labels },
  });
  return [
    gauge(
      'nats_server_up',
      'flag',
      '1 when the monitoring address answered the last look, every 30 s',
    ),
    gauge('nats_server_storage_bytes', 'bytes', 'Disk that streams take on the server'),
    gauge(
      'nats_server_storage_reserved_bytes',
      'bytes',
      'Disk that streams have set aside on the server',
    ),
    gauge(
      'nats_server_storage_limit_bytes',
      'bytes',
      'Disk that streams may take there (max_file_store)',
    ),
    gauge('nats_server_memory_bytes', 'bytes', 'Memory of the server’s process'),
    gauge('nats_server_connections', 'connections', 'Clients connected to the server'),
    gauge(
      'nats_server_slow_consumers',
      'connections',
      'Connections that the server gave up because they did not read, since it started',
    ),
  ];
}

export const ENGINE_METRICS: readonly MetricSpec[] = [
  {
    name: 'engine_provider_info',
    kind: 'gauge',
    unit: 'info',
    help: '1 for the provider that plans run on; none until the first plan',
    labels: { provider: PROVIDERS },
  },
  {
    name: 'engine_provider_refused',
    kind: 'gauge',
    unit: 'flag',
    help: '1 for a configured provider that did not serve, so that a later one in HEDDLE_PROVIDERS was taken',
    labels: { provider: PROVIDERS },
  },
  {
    name: 'engine_runs_total',
    kind: 'counter',
    unit: 'runs',
    help: 'Plans by how they ended: died is the worker’s end, refused a full queue or too little memory',
    labels: { provider: PROVIDERS, outcome: ['ok', 'cancelled', 'refused', 'died', 'failed'] },
  },
  {
    name: 'engine_run_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'From asking for a plan to its last output, with its wait for the engine',
    labels: { provider: PROVIDERS },
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
  },
  {
    name: 'engine_plans_open',
    kind: 'gauge',
    unit: 'plans',
    help: 'Plans that run or wait for the engine',
  },
  {
    name: 'engine_sessions_open',
    kind: 'gauge',
    unit: 'sessions',
    help: 'Sessions of ONNX Runtime in the cache',
  },
  {
    name: 'engine_session_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Weights that open sessions hold, in the memory of the provider’s device',
  },
  {
    name: 'engine_session_limit_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Weights that open sessions may hold (HEDDLE_CACHE_GIB): past it the oldest gives way',
  },
];
