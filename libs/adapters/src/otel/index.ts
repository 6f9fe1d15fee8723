export { type OpenTracing, type OpenTracingOptions, openTracing } from './open-tracing.ts';
export type { SpanCounts } from './span-tally.ts';
