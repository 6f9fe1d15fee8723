export { type OpenTracing, type OpenTracingOptions, openTracing } from './open-tracing.ts';
