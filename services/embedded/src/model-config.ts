import type { EnvironmentReader } from './environment.ts';

export interface ModelsConfig {
  /** Of the cache that models of the blob store are opened out of. */
  readonly cacheBytesMax: number;
  /** Undefined: `models` under the data directory. Processes of one machine may share it. */
  readonly cacheDirectory: string | undefined;
  /** Whether named models are fetched before somebody asks for them, and before this replica is ready. */
  readonly prefetch: boolean;
  /** How long readiness waits for them. */
  readonly prefetchMs: number;
  /** Who answers `hf:`. Undefined: huggingface.co. */
  readonly hubEndpoint: string | undefined;
  readonly hubToken: string | undefined;
}

const GIB = 2 ** 30;
const HOUR_S = 3600;

export function readModelsConfig(read: EnvironmentReader): ModelsConfig {
  const hubEndpoint = read.text('HF_ENDPOINT');
  if (hubEndpoint !== undefined && !/^https?:\/\/[^/\s]+/.test(hubEndpoint)) {
    read.problems.push(`HF_ENDPOINT=${hubEndpoint} is no http:// or https:// address`);
  }
  return {
    cacheBytesMax: read.whole('HEDDLE_MODELS_GIB', 20, 1, 65_536) * GIB,
    cacheDirectory: read.text('HEDDLE_MODELS'),
    prefetch: (read.words('HEDDLE_PREFETCH', ['all', 'none'] as const)?.[0] ?? 'all') === 'all',
    prefetchMs: read.whole('HEDDLE_PREFETCH_SECONDS', 600, 1, 24 * HOUR_S) * 1000,
    hubEndpoint,
    hubToken: read.text('HF_TOKEN'),
  };
}
