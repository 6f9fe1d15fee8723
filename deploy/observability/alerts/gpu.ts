import type { AlertGroup } from './alert.ts';

/** Needs NVIDIA's dcgm-exporter, as the GPU operator has it. */
export const GPU: AlertGroup = {
  name: 'heddle-gpu',
  alerts: [
    {
      name: 'HeddleGpuError',
      severity: 'warning',
      // The gauge keeps the last error's number: only one that is new or other counts.
      expr: 'max by (Hostname, gpu) (changes(DCGM_FI_DEV_XID_ERRORS[15m])) > 0 and max by (Hostname, gpu) (DCGM_FI_DEV_XID_ERRORS) > 0',
      for: '0m',
      summary: 'GPU {{ $labels.gpu }} of {{ $labels.Hostname }} reports an error',
      description:
        'The driver reported another XID error on GPU {{ $labels.gpu }} of {{ $labels.Hostname }} within 15 minutes. Some only end a process, others (48, 63, 79) mean the card.',
    },
    {
      name: 'HeddleGpuHot',
      severity: 'warning',
      expr: 'max by (Hostname, gpu) (DCGM_FI_DEV_GPU_TEMP) > 85',
      for: '10m',
      summary: 'GPU {{ $labels.gpu }} of {{ $labels.Hostname }} is at {{ $value }} °C',
      description:
        'GPU {{ $labels.gpu }} of {{ $labels.Hostname }} has been above 85 °C for 10 minutes: it slows itself down, and trainings with it.',
    },
    {
      name: 'HeddleGpuMemoryFull',
      severity: 'warning',
      expr: 'max by (Hostname, gpu) (DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)) > 0.97',
      for: '10m',
      summary:
        'The memory of GPU {{ $labels.gpu }} of {{ $labels.Hostname }} is {{ $value | humanizePercentage }} full',
      description:
        'GPU {{ $labels.gpu }} of {{ $labels.Hostname }} has nearly no memory left: the next session or a longer batch fails. HEDDLE_CACHE_GIB of all processes that share the card must fit into it.',
    },
    {
      name: 'HeddleGpuIdle',
      severity: 'info',
      expr: `max by (Hostname, gpu) (DCGM_FI_DEV_GPU_UTIL) < 5
and on () sum(jobs_worker_slots_busy and on (instance) engine_provider_info{provider="cuda"}) > 0`,
      for: '1h',
      summary: 'GPU {{ $labels.gpu }} of {{ $labels.Hostname }} does nothing while jobs run',
      description:
        'GPU {{ $labels.gpu }} of {{ $labels.Hostname }} has been used {{ $value }} % for an hour, and workers with GPUs are busy: they wait for data, or run on another card.',
    },
  ],
};
