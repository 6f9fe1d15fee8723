import { type DashboardSpec, lines, NAMESPACE, NS, quantile, type RowSpec, stat } from './panel.ts';

const CARD = 'Hostname=~"$node"';
const BY = 'Hostname, gpu';

const NOW: RowSpec = {
  title: 'Now',
  panels: [
    stat('Cards', `count(count by (${BY}) (DCGM_FI_DEV_GPU_UTIL{${CARD}}))`, {
      description: 'That the exporter sees.',
      unit: 'none',
    }),
    stat('In use', `avg(DCGM_FI_DEV_GPU_UTIL{${CARD}})`, {
      description: 'Share of time with a kernel on the card, of all cards.',
      unit: 'percent',
      alert: 'HeddleGpuIdle',
    }),
    stat(
      'Memory',
      `sum(DCGM_FI_DEV_FB_USED{${CARD}}) / sum(DCGM_FI_DEV_FB_USED{${CARD}} + DCGM_FI_DEV_FB_FREE{${CARD}})`,
      {
        description: 'Of all cards.',
        unit: 'percentunit',
        thresholds: { warn: 0.9, bad: 0.97 },
        alert: 'HeddleGpuMemoryFull',
      },
    ),
    stat('Hottest', `max(DCGM_FI_DEV_GPU_TEMP{${CARD}})`, {
      description: 'Above 85 °C a card slows itself down.',
      unit: 'celsius',
      thresholds: { warn: 80, bad: 85 },
      alert: 'HeddleGpuHot',
    }),
    stat(
      'Processes on a GPU',
      `count(engine_provider_info{provider=~"cuda|webgpu", ${NS}} == 1) or vector(0)`,
      {
        description: 'Whose engine has started on one.',
        unit: 'none',
      },
    ),
    stat('Should be, and are not', `count(engine_provider_refused{${NS}} == 1) or vector(0)`, {
      description: 'Configured for a GPU that did not serve.',
      unit: 'none',
      thresholds: { warn: 1, bad: 1 },
      alert: 'HeddleProviderRefused',
    }),
  ],
};

const CARDS: RowSpec = {
  title: 'Cards',
  panels: [
    lines(
      'Use',
      { '{{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_DEV_GPU_UTIL{${CARD}})` },
      {
        description:
          'Share of time with a kernel on the card; says nothing of how well it is filled.',
        unit: 'percent',
        alert: 'HeddleGpuIdle',
      },
    ),
    lines(
      'Tensor cores and memory',
      {
        'tensor {{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{${CARD}})`,
        'memory {{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_PROF_DRAM_ACTIVE{${CARD}})`,
      },
      {
        description:
          'Busy memory with idle tensor cores: batches are too small. Profiling metrics must be on.',
        unit: 'percentunit',
      },
    ),
    lines(
      'Memory',
      {
        'used {{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_DEV_FB_USED{${CARD}})`,
        'free {{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_DEV_FB_FREE{${CARD}})`,
      },
      {
        description: 'Weights of all processes on the card, and their work.',
        unit: 'mbytes',
        alert: 'HeddleGpuMemoryFull',
      },
    ),
    lines(
      'Temperature',
      { '{{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_DEV_GPU_TEMP{${CARD}})` },
      {
        description: 'Of the die.',
        unit: 'celsius',
        thresholds: { warn: 80, bad: 85 },
        alert: 'HeddleGpuHot',
      },
    ),
    lines(
      'Power',
      { '{{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_DEV_POWER_USAGE{${CARD}})` },
      {
        description: 'Of the board.',
        unit: 'watt',
      },
    ),
    lines(
      'Last error',
      { '{{Hostname}} {{gpu}}': `max by (${BY}) (DCGM_FI_DEV_XID_ERRORS{${CARD}})` },
      {
        description: 'XID of the driver; 0 is none.',
        unit: 'none',
        alert: 'HeddleGpuError',
      },
    ),
  ],
};

const HEDDLE: RowSpec = {
  title: 'What Heddle does with them',
  panels: [
    lines(
      'Plans',
      {
        '{{service}} {{provider}} {{outcome}}': `sum by (service, provider, outcome) (rate(engine_runs_total{${NS}}[$__rate_interval])) > 0`,
      },
      { description: 'Run a second, by provider.', unit: 'ops', alert: 'HeddleEngineDied' },
    ),
    lines(
      'Time of a plan, p95',
      {
        '{{service}} {{provider}}': quantile(0.95, 'engine_run_seconds', NS, 'service, provider'),
      },
      { description: 'With its wait for the engine.', unit: 's' },
    ),
    lines(
      'Weights',
      { '{{instance}}': `engine_session_bytes{${NS}}` },
      {
        description: 'Of open sessions, in the memory of the provider’s device.',
        unit: 'bytes',
        alert: 'HeddleSessionsThrash',
      },
    ),
  ],
};

/** Cards, from NVIDIA's exporter, beside what Heddle runs on them. */
export const GPUS: DashboardSpec = {
  uid: 'heddle-gpu',
  title: 'Heddle: GPUs',
  description: 'Cards and what runs on them. Needs NVIDIA’s dcgm-exporter.',
  variables: [
    NAMESPACE,
    { name: 'node', label: 'Node', metric: 'DCGM_FI_DEV_GPU_UTIL', of: 'Hostname', multi: true },
  ],
  rows: [NOW, CARDS, HEDDLE],
};
