import type { AlertGroup } from './alert.ts';

/** Journal, queues and blobs: where they are, how full, how fast, and whether they keep what they are given. */
export const STORES: AlertGroup = {
  name: 'heddle-stores',
  alerts: [
    {
      name: 'HeddleJournalAway',
      severity: 'critical',
      expr: 'max by (namespace) (stores_up{store="journal"}) == 0',
      for: '1m',
      summary: 'No service in {{ $labels.namespace }} reaches its journal',
      description:
        'The journal (NATS JetStream) has answered nobody for a minute. Nothing can be started, steered or committed; running tasks compute on. After 20 s processes are unready.',
    },
    {
      name: 'HeddleNatsDisconnected',
      severity: 'warning',
      expr: 'nats_connected == 0',
      for: '2m',
      summary: '{{ $labels.instance }} ({{ $labels.service }}) has no connection to NATS',
      description:
        '{{ $labels.instance }} in {{ $labels.namespace }} has had no connection for 2 minutes; its tasks are taken over by others.',
    },
    {
      name: 'HeddleNatsFlapping',
      severity: 'warning',
      expr: 'increase(nats_disconnects_total[15m]) > 3',
      for: '0m',
      summary: '{{ $labels.instance }} ({{ $labels.service }}) loses NATS again and again',
      description:
        'The connection of {{ $labels.instance }} in {{ $labels.namespace }} broke {{ $value | humanize }} times in 15 minutes.',
    },
    {
      name: 'HeddleNatsServerDown',
      severity: 'warning',
      expr: 'max by (namespace, server) (nats_server_up) == 0',
      for: '2m',
      summary: 'NATS server {{ $labels.server }} of {{ $labels.namespace }} does not answer',
      description:
        'The monitoring address {{ $labels.server }} (its place in HEDDLE_NATS_MONITORS) has answered nobody for 2 minutes. With three servers work goes on; with one it stands still.',
    },
    {
      name: 'HeddleNatsStorageFilling',
      severity: 'warning',
      expr: 'max by (namespace, server) (nats_server_storage_bytes) / (max by (namespace, server) (nats_server_storage_limit_bytes) > 0) > 0.8',
      for: '10m',
      summary:
        'NATS server {{ $labels.server }} of {{ $labels.namespace }} is {{ $value | humanizePercentage }} full',
      description:
        'Streams take {{ $value | humanizePercentage }} of what server {{ $labels.server }} may store (max_file_store). At 100 % every append is refused: nothing can be started or committed.',
    },
    {
      name: 'HeddleNatsNotSyncing',
      severity: 'info',
      expr: 'min by (namespace) (nats_sync_always) == 0',
      for: '15m',
      summary: 'A power cut can take back what NATS of {{ $labels.namespace }} acknowledged',
      description:
        'At least one NATS server does not sync at every write, or its sync mode is unknown: up to two minutes of acknowledged appends live in memory only.',
    },
    {
      name: 'HeddleJournalFewCopies',
      severity: 'info',
      expr: 'min by (namespace) (nats_journal_replicas) < 3',
      for: '15m',
      summary: 'The journal of {{ $labels.namespace }} has {{ $value }} copies',
      description:
        'The journal has {{ $value }} copies: with one it lives as long as its disk. Three are recommended (HEDDLE_NATS_REPLICAS).',
    },
    {
      name: 'HeddleJournalFilling',
      severity: 'warning',
      expr: 'max by (namespace) (stores_journal_bytes) / (max by (namespace) (stores_journal_limit_bytes) > 0) > 0.8',
      for: '10m',
      summary: 'The journal of {{ $labels.namespace }} is {{ $value | humanizePercentage }} full',
      description:
        'The journal takes {{ $value | humanizePercentage }} of its budget (HEDDLE_JOURNAL_GIB). At 100 % appends are refused.',
    },
    {
      name: 'HeddleAppendsRefused',
      severity: 'critical',
      expr: 'sum by (namespace, operation) (increase(stores_operations_total{operation=~"journal.append|queue.push", outcome="resource_exhausted"}[10m])) > 0',
      for: '0m',
      summary: '{{ $labels.operation }} is refused in {{ $labels.namespace }}: no room',
      description:
        '{{ $labels.operation }} was refused {{ $value | humanize }} times in 10 minutes: a budget, a queue or the disk of NATS is full. Nothing is half written; nothing new is accepted.',
    },
    {
      name: 'HeddleJournalSlow',
      severity: 'warning',
      expr: 'namespace_operation:stores_operation_seconds:p99_5m{operation="journal.append"} > 1',
      for: '10m',
      summary: 'Appends to the journal of {{ $labels.namespace }} are slow',
      description:
        'One append in a hundred takes longer than {{ $value | humanizeDuration }}; milliseconds are usual. Every start, checkpoint and end waits for one.',
    },
    {
      name: 'HeddleStoreErrors',
      severity: 'warning',
      expr: `sum by (namespace, operation) (namespace_operation_outcome:stores_operations:rate5m{outcome=~"unavailable|other"})
/ sum by (namespace, operation) (namespace_operation_outcome:stores_operations:rate5m) > 0.05`,
      for: '10m',
      summary: '{{ $labels.operation }} fails in {{ $labels.namespace }}',
      description:
        '{{ $value | humanizePercentage }} of {{ $labels.operation }} have failed for 10 minutes. They are repeated, and what depends on them is slow.',
    },
    {
      name: 'HeddleBlobsAway',
      severity: 'critical',
      expr: 'min by (namespace) (stores_up{store="blobs"}) == 0',
      for: '1m',
      summary: 'The blob store of {{ $labels.namespace }} is away',
      description:
        'At least one process has had no answer from the blob store for a minute. A task that cannot save fails and is tried again after 1 s, doubling to 60 s, 5 times: then its job fails.',
    },
    {
      name: 'HeddleBlobsRefused',
      severity: 'critical',
      expr: 'sum by (namespace) (increase(stores_operations_total{operation="blobs.put", outcome="resource_exhausted"}[10m])) > 0',
      for: '0m',
      summary: 'The blob store of {{ $labels.namespace }} is full',
      description:
        '{{ $value | humanize }} blobs found no room in 10 minutes (HEDDLE_BLOBS_GIB, or the disk of the store): checkpoints and results cannot be kept, and jobs fail after 5 tries.',
    },
    {
      name: 'HeddleDataLoss',
      severity: 'critical',
      expr: 'sum by (namespace, operation) (increase(stores_operations_total{outcome="data_loss"}[15m])) > 0',
      for: '0m',
      summary: '{{ $labels.operation }} found damaged data in {{ $labels.namespace }}',
      description:
        '{{ $value | humanize }} of {{ $labels.operation }} in 15 minutes read bytes that are not what was written.',
    },
    {
      name: 'HeddleScratchFilling',
      severity: 'warning',
      expr: 'stores_scratch_free_bytes / (stores_scratch_size_bytes > 0) < 0.1',
      for: '10m',
      summary: 'The disk of {{ $labels.instance }} ({{ $labels.service }}) is nearly full',
      description:
        '{{ $value | humanizePercentage }} of the disk of --data is free on {{ $labels.instance }} in {{ $labels.namespace }}. Models cannot be fetched without room; Kubernetes evicts a pod that passes the limit of its volume.',
    },
    {
      name: 'HeddleModelCacheThrashes',
      severity: 'info',
      expr: 'sum by (namespace, service) (increase(models_evictions_total[1h])) > 10',
      for: '30m',
      summary:
        'Models of {{ $labels.service }} in {{ $labels.namespace }} push each other out of the cache',
      description:
        '{{ $value | humanize }} models gave way to others in an hour: what is used does not fit into HEDDLE_MODELS_GIB, and each use fetches again.',
    },
    {
      name: 'HeddleModelsCannotBeOpened',
      severity: 'warning',
      expr: 'sum by (namespace, service) (increase(models_opened_total{outcome="failed"}[15m])) > 3',
      for: '0m',
      summary: 'Models cannot be opened by {{ $labels.service }} in {{ $labels.namespace }}',
      description:
        '{{ $value | humanize }} uses of a model failed in 15 minutes: its blobs are missing or damaged, or there is no room for them.',
    },
  ],
};
