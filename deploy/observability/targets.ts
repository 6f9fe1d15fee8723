/** What a scrape must know of its target; rules and panels rest on these labels, and on no others. */
export const TARGET_LABELS = {
  job: 'heddle',
  /** activation, lorsa, qk, circuit, attribution, explorer. */
  service: 'who answers or works',
  /** `service` answers calls and accepts jobs; `workers` only take tasks, and there may be none of them. */
  role: 'service or workers',
  namespace: 'of the installation',
  /** A pod's name, which it keeps when its container is started again. */
  instance: 'the process',
} as const;

/** Of a ServiceMonitor's or PodMonitor's endpoint, from the labels that the chart gives its pods. */
export const POD_RELABELINGS = [
  {
    sourceLabels: ['__meta_kubernetes_pod_label_app_kubernetes_io_component'],
    regex: '(.+?)(-workers)?',
    targetLabel: 'service',
    replacement: '$1',
  },
  { targetLabel: 'role', replacement: 'service' },
  {
    sourceLabels: ['__meta_kubernetes_pod_label_app_kubernetes_io_component'],
    regex: '.+-workers',
    targetLabel: 'role',
    replacement: 'workers',
  },
  { sourceLabels: ['__meta_kubernetes_pod_name'], targetLabel: 'instance' },
] as const;

/** How often a process is scraped: rules look back at least four times as long. */
export const SCRAPE_SECONDS = 15;
