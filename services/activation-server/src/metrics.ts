import { FAMILIES } from '@heddle/models';
import type { MetricSpec, Provider } from '@heddle/ports';

const PROVIDERS: readonly Provider[] = ['cuda', 'webgpu', 'cpu'];

/** What this service counts: name, kind, unit, help, allowed label values. A test compares it with what is recorded. */
export const ACTIVATION_METRICS: readonly MetricSpec[] = [
  {
    name: 'activation_run_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time of one batch in the engine',
    labels: { family: FAMILIES, provider: PROVIDERS },
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
  },
  {
    name: 'activation_tokens_total',
    kind: 'counter',
    unit: 'tokens',
    help: 'Tokens that models read, without padding',
    labels: { family: FAMILIES },
  },
  {
    name: 'activation_batch_prompts',
    kind: 'histogram',
    unit: 'prompts',
    help: 'Prompts that shared a batch',
    buckets: [1, 2, 4, 8, 16, 32, 64],
  },
  {
    name: 'activation_waiting_prompts',
    kind: 'gauge',
    unit: 'prompts',
    help: 'Prompts that wait for the engine',
  },
  {
    name: 'activation_requests_total',
    kind: 'counter',
    unit: 'requests',
    help: 'Runs by how they ended',
    labels: { outcome: ['done', 'refused', 'failed', 'cancelled'] },
  },
  {
    name: 'activation_reply_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes of tensors handed to callers',
  },
  {
    name: 'activation_model_load_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time to read and check all tensors of a model',
    labels: { family: FAMILIES },
    buckets: [0.05, 0.2, 1, 5, 20, 60],
  },
  {
    name: 'activation_session_lookups_total',
    kind: 'counter',
    unit: 'lookups',
    help: 'Segments asked of the session cache',
    labels: { result: ['hit', 'miss'] },
  },
  {
    name: 'activation_session_evictions_total',
    kind: 'counter',
    unit: 'sessions',
    help: 'Sessions released to make room',
  },
  {
    name: 'activation_cache_requests_total',
    kind: 'counter',
    unit: 'requests',
    help: 'Activation passes asked for: begun, answered with one that was asked for before, or refused',
    labels: { outcome: ['started', 'reused', 'refused'] },
  },
  {
    name: 'activation_cached_tokens_total',
    kind: 'counter',
    unit: 'tokens',
    help: 'Tokens whose activations were written to shards',
    labels: { family: FAMILIES },
  },
  {
    name: 'activation_cached_shards_total',
    kind: 'counter',
    unit: 'shards',
    help: 'Shards of activations written',
  },
  {
    name: 'activation_cached_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes of activations written',
  },
  {
    name: 'activation_cache_shard_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time to read, run and write one shard of activations',
    buckets: [0.5, 2, 5, 10, 30, 60, 300],
  },
];
