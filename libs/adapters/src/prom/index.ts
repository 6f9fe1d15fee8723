export { PromMetrics } from './prom-metrics.ts';
