import {
  type DashboardSpec,
  lines,
  NAMESPACE,
  NS,
  quantile,
  type RowSpec,
  stat,
  table,
} from './panel.ts';

const NOW: RowSpec = {
  title: 'Now',
  panels: [
    stat(
      'Critical alerts',
      `count(ALERTS{alertname=~"Heddle.+", alertstate="firing", severity="critical", ${NS}}) or vector(0)`,
      {
        description: 'Firing now. Each has an entry in the runbook.',
        unit: 'none',
        thresholds: { warn: 1, bad: 1 },
      },
    ),
    stat(
      'Services that answer',
      `count(max by (service) (heddle_ready{role="service", ${NS}}) == 1)`,
      {
        description: 'Services with at least one ready process; six are a whole cluster.',
        unit: 'none',
        thresholds: { warn: 6, bad: 5, below: true },
        alert: 'HeddleServiceNotReady',
      },
    ),
    stat('Jobs running', `sum(max by (kind) (jobs_open{status="running", ${NS}}))`, {
      description: 'Of all tenants and kinds.',
      unit: 'none',
    }),
    stat('Jobs waiting', `sum(max by (kind) (jobs_open{status="queued", ${NS}}))`, {
      description: 'Accepted, and no worker has begun them.',
      unit: 'none',
      alert: 'HeddleQueueStandsStill',
    }),
    stat('Longest wait', `max(jobs_oldest_queued_seconds{${NS}})`, {
      description: 'Of the job that has waited longest for a worker.',
      unit: 's',
      thresholds: { warn: 1800, bad: 3600 },
      alert: 'HeddleJobsWaitLong',
    }),
    stat('Failed in an hour', `sum(increase(jobs_settled_total{outcome="failed", ${NS}}[1h]))`, {
      description: 'Jobs that failed in the last hour.',
      unit: 'none',
      thresholds: { warn: 1, bad: 5 },
      alert: 'HeddleJobsFail',
    }),
    table('Firing alerts', `ALERTS{alertname=~"Heddle.+", alertstate="firing", ${NS}}`, {
      description: 'A name links to its entry in the runbook.',
      unit: 'none',
      width: 12,
    }),
    lines(
      'Ready processes',
      {
        '{{service}} {{role}}': `sum by (service, role) (heddle_ready{${NS}})`,
      },
      {
        description: 'Workers come with the queue and go; the others are always there.',
        unit: 'none',
        width: 12,
        alert: 'HeddleInstanceNotReady',
      },
    ),
  ],
};

const JOBS: RowSpec = {
  title: 'Jobs',
  panels: [
    lines(
      'Tasks waiting',
      { '{{kind}}': `namespace_kind:jobs_queue_waiting:max{${NS}}` },
      {
        description: 'On the queue; what is held back for its tenant is not among them.',
        unit: 'none',
        alert: 'HeddleQueueStandsStill',
      },
    ),
    lines(
      'Worker slots',
      {
        'busy {{kind}}': `namespace_kind:jobs_worker_slots_busy:sum{${NS}}`,
        'all {{kind}}': `namespace_kind:jobs_worker_slots:sum{${NS}} > 0`,
      },
      {
        description: 'Tasks that can be worked on at a time, and those that are.',
        unit: 'none',
        alert: 'HeddleWorkersSaturated',
      },
    ),
    lines(
      'Jobs ended',
      {
        '{{outcome}}': `sum by (outcome) (increase(jobs_settled_total{${NS}}[$__rate_interval]))`,
      },
      { description: 'By how they ended.', unit: 'none', stacked: true, alert: 'HeddleJobsFail' },
    ),
    lines(
      'Attempts that did not end well',
      {
        '{{outcome}}': `sum by (outcome) (increase(jobs_attempts_total{outcome=~"failed|lost|released", ${NS}}[$__rate_interval]))`,
        'delivered again': `sum(increase(jobs_redeliveries_total{${NS}}[$__rate_interval]))`,
      },
      {
        description:
          'Released is a worker that was told to stop and saved; lost one whose task was taken away.',
        unit: 'none',
        alert: 'HeddleRedeliveries',
      },
    ),
    lines(
      'Refused',
      {
        '{{kind}} {{reason}}': `sum by (kind, reason) (increase(jobs_refused_total{${NS}}[$__rate_interval])) > 0`,
      },
      {
        description: 'At the door: queue full, past a budget, past a quota.',
        unit: 'none',
        alert: 'HeddleJobsRefused',
      },
    ),
    lines(
      'Machinery',
      {
        'fenced appends': `sum(rate(jobs_appends_fenced_total{${NS}}[$__rate_interval]))`,
        'effects lost': `sum(rate(jobs_effects_lost_total{${NS}}[$__rate_interval]))`,
        'actor falls': `sum(rate(jobs_actor_falls_total{${NS}}[$__rate_interval]))`,
      },
      {
        description: 'Lost races cost time; falls are faults.',
        unit: 'ops',
        alert: 'HeddleFenceStorm',
      },
    ),
  ],
};

const CALLS: RowSpec = {
  title: 'Calls',
  panels: [
    lines(
      'Calls',
      { '{{service}}': `namespace_service:grpc_calls:rate5m{${NS}}` },
      {
        description: 'Answered a second; the front door counts what it hands on.',
        unit: 'reqps',
      },
    ),
    lines(
      'Not OK',
      {
        '{{service}} {{code}}': `namespace_service_code:grpc_calls:rate5m{code!="ok", ${NS}} > 0`,
      },
      {
        description:
          'By gRPC code. RESOURCE_EXHAUSTED is load, UNAVAILABLE a part that is away, INTERNAL a fault.',
        unit: 'reqps',
        alert: 'HeddleCallsFail',
      },
    ),
    lines(
      'p95 by service',
      {
        '{{service}}': quantile(
          0.95,
          'grpc_call_seconds',
          `method!~".+/(Watch|Follow).*", ${NS}`,
          'service',
        ),
      },
      {
        description: 'From request to last byte; streams that only watch are left out.',
        unit: 's',
        alert: 'HeddleOverloaded',
      },
    ),
  ],
};

const STORES: RowSpec = {
  title: 'Stores',
  panels: [
    lines(
      'Journal append, p99',
      {
        p99: `namespace_operation:stores_operation_seconds:p99_5m{operation="journal.append", ${NS}}`,
      },
      {
        description: 'Every start, checkpoint and end of a job waits for one.',
        unit: 's',
        thresholds: { warn: 0.2, bad: 1 },
        alert: 'HeddleJournalSlow',
      },
    ),
    lines(
      'Operations that failed',
      {
        '{{operation}} {{outcome}}': `sum by (operation, outcome) (namespace_operation_outcome:stores_operations:rate5m{outcome!~"ok|aborted|not_found", ${NS}}) > 0`,
      },
      { description: 'Of journal, queue and blobs.', unit: 'ops', alert: 'HeddleStoreErrors' },
    ),
    lines(
      'How full',
      {
        journal: `max(stores_journal_bytes{${NS}}) / max(stores_journal_limit_bytes{${NS}})`,
        'NATS server {{server}}': `max by (server) (nats_server_storage_bytes{${NS}}) / max by (server) (nats_server_storage_limit_bytes{${NS}})`,
      },
      {
        description: 'At 100 % appends are refused.',
        unit: 'percentunit',
        thresholds: { warn: 0.8, bad: 0.95 },
        alert: 'HeddleJournalFilling',
      },
    ),
    lines(
      'Blobs',
      {
        '{{direction}}': `sum by (direction) (rate(stores_blob_bytes_total{${NS}}[$__rate_interval]))`,
      },
      { description: 'To and from the store, without local copies.', unit: 'Bps' },
    ),
    lines(
      'NATS',
      {
        'memory of server {{server}}': `max by (server) (nats_server_memory_bytes{${NS}})`,
      },
      { description: 'Of its servers’ processes.', unit: 'bytes', alert: 'HeddleNatsServerDown' },
    ),
    lines(
      'NATS connections',
      {
        'clients of server {{server}}': `max by (server) (nats_server_connections{${NS}})`,
        'slow, cut by server {{server}}': `max by (server) (nats_server_slow_consumers{${NS}})`,
        'processes without': `count(nats_connected{${NS}} == 0) or vector(0)`,
        'breaks in 5 minutes': `sum(increase(nats_disconnects_total{${NS}}[5m]))`,
      },
      {
        description: 'Who is connected, and how often that broke.',
        unit: 'none',
        alert: 'HeddleNatsFlapping',
      },
    ),
    stat('Stores that answer', `min by (store) (stores_up{${NS}})`, {
      description: '0 as soon as one process gets no answer.',
      unit: 'bool_yes_no',
      thresholds: { warn: 1, bad: 0, below: true },
      width: 6,
      alert: 'HeddleBlobsAway',
    }),
    stat('Copies of the journal', `min(nats_journal_replicas{${NS}})`, {
      description: 'Three are recommended.',
      unit: 'none',
      thresholds: { warn: 3, bad: 2, below: true },
      width: 6,
      alert: 'HeddleJournalFewCopies',
    }),
    stat('Synced at every write', `min(nats_sync_always{${NS}})`, {
      description: 'If not, a power cut can take acknowledged appends back.',
      unit: 'bool_yes_no',
      thresholds: { warn: 1, bad: 0, below: true },
      width: 6,
      alert: 'HeddleNatsNotSyncing',
    }),
    stat('Jobs that cannot be read', `max(jobs_journals_unreadable{${NS}})`, {
      description: 'Their events have a gap.',
      unit: 'none',
      thresholds: { warn: 1, bad: 1 },
      width: 6,
      alert: 'HeddleJournalUnreadable',
    }),
  ],
};

const PROCESSES: RowSpec = {
  title: 'Processes',
  panels: [
    lines(
      'Memory',
      { '{{instance}}': `process_resident_memory_bytes{job="heddle", ${NS}}` },
      {
        description: 'Resident, with the weights of open sessions on the CPU.',
        unit: 'bytes',
        alert: 'HeddleMemoryNearLimit',
      },
    ),
    lines(
      'CPU',
      { '{{instance}}': `rate(process_cpu_seconds_total{job="heddle", ${NS}}[$__rate_interval])` },
      {
        description: 'Cores in use.',
        unit: 'short',
      },
    ),
    lines(
      'Event loop, p99',
      { '{{instance}}': `nodejs_eventloop_lag_p99_seconds{job="heddle", ${NS}}` },
      {
        description: 'Heartbeats come late by so much.',
        unit: 's',
        thresholds: { warn: 0.5, bad: 1 },
        alert: 'HeddleEventLoopBlocked',
      },
    ),
    lines(
      'Starts in an hour',
      {
        '{{instance}}': `changes(process_start_time_seconds{job="heddle", ${NS}}[1h]) > 0`,
      },
      {
        description: 'Of processes that ended and were started again.',
        unit: 'none',
        alert: 'HeddleRestarts',
      },
    ),
    lines(
      'Free scratch',
      {
        '{{instance}}': `stores_scratch_free_bytes{${NS}} / stores_scratch_size_bytes{${NS}}`,
      },
      {
        description: 'Of the disk of --data.',
        unit: 'percentunit',
        thresholds: { warn: 0.2, bad: 0.1, below: true },
        alert: 'HeddleScratchFilling',
      },
    ),
    lines(
      'Spans of traces',
      {
        '{{outcome}}': `sum by (outcome) (rate(heddle_spans_total{${NS}}[$__rate_interval]))`,
      },
      {
        description: 'A second, by what became of them; nothing where nothing is traced.',
        unit: 'ops',
        stacked: true,
        alert: 'HeddleTracesLost',
      },
    ),
    table('Versions', `count by (service, version, node) (heddle_build_info{${NS}})`, {
      description: 'Processes by version of Heddle and of Node.',
      unit: 'none',
      alert: 'HeddleVersionsDiffer',
    }),
    stat('First certificate to end', `min(heddle_certificate_expiry_seconds{${NS}}) * 1000`, {
      description: 'Without TLS there is none.',
      unit: 'dateTimeFromNow',
      width: 6,
      alert: 'HeddleCertificateEnding',
    }),
  ],
};

/** The first look of who was woken up. */
export const CLUSTER: DashboardSpec = {
  uid: 'heddle-cluster',
  title: 'Heddle: cluster',
  description: 'Is it up, does work move, what is full, what fails.',
  variables: [NAMESPACE],
  rows: [NOW, JOBS, CALLS, STORES, PROCESSES],
};
