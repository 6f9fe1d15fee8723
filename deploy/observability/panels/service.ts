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

const ONE = `${NS}, service=~"$service"`;
const PROCESS = `job="heddle", ${ONE}`;
const QUIET = 'method!~".+/(Watch|Follow).*"';

const STATE: RowSpec = {
  title: '$service',
  panels: [
    stat('Ready', `sum(heddle_ready{role="service", ${ONE}})`, {
      description: 'Processes that answer calls.',
      unit: 'none',
      thresholds: { warn: 1, bad: 0, below: true },
      alert: 'HeddleServiceNotReady',
    }),
    stat('Workers', `count(heddle_ready{role="workers", ${ONE}}) or vector(0)`, {
      description: 'Processes that only take tasks; none while nothing waits.',
      unit: 'none',
    }),
    stat('Calls', `sum(namespace_service:grpc_calls:rate5m{${ONE}})`, {
      description: 'Answered a second.',
      unit: 'reqps',
    }),
    stat('Open calls', `sum(grpc_calls_open{${ONE}})`, {
      description: 'Being answered now.',
      unit: 'none',
      alert: 'HeddleOverloaded',
    }),
    stat('Busy slots', `sum(jobs_worker_slots_busy{${ONE}})`, {
      description: 'Tasks that are worked on.',
      unit: 'none',
    }),
    stat('Unwell', `count(up{${PROCESS}} == 0) or vector(0)`, {
      description: 'Processes that do not answer a scrape.',
      unit: 'none',
      thresholds: { warn: 1, bad: 2 },
      alert: 'HeddleInstanceDown',
    }),
  ],
};

const CALLS: RowSpec = {
  title: 'Calls',
  panels: [
    lines(
      'By method',
      {
        '{{method}}': `sum by (method) (rate(grpc_calls_total{${ONE}}[$__rate_interval])) > 0`,
      },
      { description: 'Answered a second.', unit: 'reqps' },
    ),
    lines(
      'Not OK',
      {
        '{{method}} {{code}}': `sum by (method, code) (rate(grpc_calls_total{code!="ok", ${ONE}}[$__rate_interval])) > 0`,
      },
      { description: 'By method and code.', unit: 'reqps', alert: 'HeddleCallsFail' },
    ),
    lines(
      'How long',
      {
        p50: quantile(0.5, 'grpc_call_seconds', `${QUIET}, ${ONE}`),
        p95: quantile(0.95, 'grpc_call_seconds', `${QUIET}, ${ONE}`),
        p99: quantile(0.99, 'grpc_call_seconds', `${QUIET}, ${ONE}`),
      },
      { description: 'From request to last byte, without streams that watch.', unit: 's' },
    ),
    table(
      'p95 by method in an hour',
      `histogram_quantile(0.95, sum by (method, le) (increase(grpc_call_seconds_bucket{${ONE}}[1h])))`,
      {
        description: 'Where the time goes.',
        unit: 's',
        width: 24,
      },
    ),
  ],
};

const WORK: RowSpec = {
  title: 'Work',
  panels: [
    lines(
      'Attempts',
      {
        '{{kind}} {{outcome}}': `sum by (kind, outcome) (increase(jobs_attempts_total{${ONE}}[$__rate_interval])) > 0`,
      },
      { description: 'At tasks, by how they ended.', unit: 'none', alert: 'HeddleWorkLost' },
    ),
    lines(
      'Fenced appends',
      {
        '{{message}}': `sum by (message) (rate(jobs_appends_fenced_total{${ONE}}[$__rate_interval])) > 0`,
      },
      { description: 'Races lost, by what was decided.', unit: 'ops', alert: 'HeddleFenceStorm' },
    ),
    lines(
      'Checkpoints',
      {
        '{{kind}}': `sum by (kind) (rate(jobs_checkpoint_bytes_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'Bytes committed a second.', unit: 'Bps', alert: 'HeddleCheckpointsLost' },
    ),
  ],
};

const STORES: RowSpec = {
  title: 'Stores, as this service sees them',
  panels: [
    lines(
      'Operations',
      {
        '{{operation}}': `sum by (operation) (rate(stores_operations_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'Of journal, queue and blobs.', unit: 'ops' },
    ),
    lines(
      'Failures',
      {
        '{{operation}} {{outcome}}': `sum by (operation, outcome) (rate(stores_operations_total{outcome!="ok", ${ONE}}[$__rate_interval])) > 0`,
      },
      {
        description: 'Aborted is a lost race, not_found an answer.',
        unit: 'ops',
        alert: 'HeddleStoreErrors',
      },
    ),
    lines(
      'p99',
      {
        '{{operation}}': quantile(0.99, 'stores_operation_seconds', ONE, 'operation'),
      },
      { description: 'Time of one operation.', unit: 's', alert: 'HeddleJournalSlow' },
    ),
  ],
};

const COMPUTE: RowSpec = {
  title: 'Engine and models',
  panels: [
    lines(
      'Plans',
      {
        '{{provider}} {{outcome}}': `sum by (provider, outcome) (rate(engine_runs_total{${ONE}}[$__rate_interval])) > 0`,
        'open {{instance}}': `engine_plans_open{${ONE}}`,
      },
      {
        description: 'Run a second, and those that run or wait now.',
        unit: 'short',
        alert: 'HeddleEngineDied',
      },
    ),
    lines(
      'Time of a plan',
      {
        'p50 {{provider}}': quantile(0.5, 'engine_run_seconds', ONE, 'provider'),
        'p95 {{provider}}': quantile(0.95, 'engine_run_seconds', ONE, 'provider'),
      },
      { description: 'With its wait for the engine.', unit: 's' },
    ),
    lines(
      'Weights in memory',
      {
        '{{instance}}': `engine_session_bytes{${ONE}}`,
        'limit {{instance}}': `engine_session_limit_bytes{${ONE}}`,
      },
      {
        description: 'Of open sessions, and what they may take.',
        unit: 'bytes',
        alert: 'HeddleSessionsThrash',
      },
    ),
    lines(
      'Sessions',
      { '{{instance}}': `engine_sessions_open{${ONE}}` },
      {
        description: 'Open in ONNX Runtime.',
        unit: 'none',
      },
    ),
    lines(
      'Models here',
      {
        'wanted {{instance}}': `models_wanted_bytes{${ONE}}`,
        'there {{instance}}': `models_there_bytes{${ONE}}`,
        'cache {{instance}}': `models_cache_bytes{${ONE}}`,
      },
      {
        description: 'Named models that this replica wants and has, and its cache.',
        unit: 'bytes',
        alert: 'HeddleInstanceNotReady',
      },
    ),
    lines(
      'Models opened',
      {
        '{{outcome}}': `sum by (outcome) (increase(models_opened_total{${ONE}}[$__rate_interval]))`,
        'gave way': `sum(increase(models_evictions_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'By what the cache had.', unit: 'none', alert: 'HeddleModelsCannotBeOpened' },
    ),
  ],
};

const ACTIVATION: RowSpec = {
  title: 'Activation server',
  collapsed: true,
  panels: [
    lines(
      'Runs',
      {
        '{{outcome}}': `sum by (outcome) (rate(activation_requests_total{${ONE}}[$__rate_interval]))`,
        'prompts waiting': `sum(activation_waiting_prompts{${ONE}})`,
      },
      {
        description: 'By how they ended, and who waits for the engine.',
        unit: 'short',
        alert: 'HeddleOverloaded',
      },
    ),
    lines(
      'Tokens read',
      {
        '{{family}}': `sum by (family) (rate(activation_tokens_total{${ONE}}[$__rate_interval])) > 0`,
      },
      { description: 'Without padding, a second.', unit: 'cps' },
    ),
    lines(
      'Time of a batch',
      {
        'p95 {{family}}': quantile(0.95, 'activation_run_seconds', ONE, 'family'),
        'prompts, median': quantile(0.5, 'activation_batch_prompts', ONE),
      },
      { description: 'In the engine, and how many prompts shared it.', unit: 's' },
    ),
    lines(
      'Segments',
      {
        '{{result}}': `sum by (result) (rate(activation_session_lookups_total{${ONE}}[$__rate_interval]))`,
        'gave way': `sum(rate(activation_session_evictions_total{${ONE}}[$__rate_interval]))`,
      },
      {
        description: 'Found in the session cache or opened.',
        unit: 'ops',
        alert: 'HeddleSessionsThrash',
      },
    ),
    lines(
      'Tensors handed out',
      {
        replies: `sum(rate(activation_reply_bytes_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'Bytes a second.', unit: 'Bps' },
    ),
    lines(
      'Loading a model',
      {
        'p95 {{family}}': quantile(0.95, 'activation_model_load_seconds', ONE, 'family'),
      },
      { description: 'Reading and checking all its tensors.', unit: 's' },
    ),
  ],
};

const OTHERS: RowSpec = {
  title: 'Analyses',
  collapsed: true,
  panels: [
    lines(
      'Attributions',
      {
        'p95 {{question}}': quantile(
          0.95,
          'attribution_service_attribution_seconds',
          ONE,
          'question',
        ),
        'sums that fail': `sum(increase(attribution_service_sums_total{outcome="fails", ${ONE}}[$__rate_interval]))`,
      },
      {
        description: 'With capture and weights; sums must hold.',
        unit: 's',
        alert: 'HeddleSumsDoNotHold',
      },
    ),
    lines(
      'Traces',
      {
        'p95 {{method}}': quantile(0.95, 'circuit_tracer_trace_seconds', ONE, 'method'),
        'unexplained {{method}}': `sum by (method) (increase(circuit_tracer_unexplained_firings_total{${ONE}}[$__rate_interval]))`,
        'nodes {{method}}': `sum by (method) (increase(circuit_tracer_nodes_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'Of one prompt, without capture.', unit: 's' },
    ),
    lines(
      'QK fits',
      {
        'p95 of a job': quantile(0.95, 'qk_analyzer_fit_seconds', ONE),
        fits: `sum(increase(qk_analyzer_fits_total{${ONE}}[$__rate_interval]))`,
      },
      { description: 'Contrastive covariances, one for each feature and head.', unit: 's' },
    ),
  ],
};

const PROCESSES: RowSpec = {
  title: 'Processes',
  panels: [
    lines(
      'Memory',
      {
        'resident {{instance}}': `process_resident_memory_bytes{${PROCESS}}`,
        'heap {{instance}}': `nodejs_heap_size_used_bytes{${PROCESS}}`,
        'outside of the heap {{instance}}': `nodejs_external_memory_bytes{${PROCESS}}`,
      },
      {
        description: 'Weights and tensors are outside of the heap.',
        unit: 'bytes',
        alert: 'HeddleMemoryNearLimit',
      },
    ),
    lines(
      'CPU',
      { '{{instance}}': `rate(process_cpu_seconds_total{${PROCESS}}[$__rate_interval])` },
      {
        description: 'Cores in use.',
        unit: 'short',
      },
    ),
    lines(
      'Event loop',
      {
        'p99 {{instance}}': `nodejs_eventloop_lag_p99_seconds{${PROCESS}}`,
        'collecting garbage {{instance}}': `sum by (instance) (rate(nodejs_gc_duration_seconds_sum{${PROCESS}}[$__rate_interval]))`,
      },
      {
        description: 'Lag, and the share of time in garbage collection.',
        unit: 's',
        alert: 'HeddleEventLoopBlocked',
      },
    ),
  ],
};

/** One service: what it is asked, what it asks, what it computes, what it takes. */
export const SERVICE: DashboardSpec = {
  uid: 'heddle-service',
  title: 'Heddle: service',
  description: 'One service with its workers: calls, work, stores, engine, processes.',
  variables: [
    NAMESPACE,
    { name: 'service', label: 'Service', metric: `heddle_build_info{${NS}}`, of: 'service' },
  ],
  rows: [STATE, CALLS, WORK, STORES, COMPUTE, ACTIVATION, OTHERS, PROCESSES],
};
