import type { Engine, Kernels } from '@heddle/ports';
import type { Config } from './config.ts';
import { lazyEngine } from './lazy-engine.ts';
import { type EngineMetering, meteredEngine } from './metered-engine.ts';
import { ENGINE_METRICS } from './metrics.ts';

/** More only wait for each other's memory traffic; results do not depend on it. */
const KERNEL_THREADS_MAX = 64;

/** Engine and kernels, each started when it is first asked for. */
export function openCompute(
  { providers, engineThreads: threads, engineCacheBytes }: Config,
  metering: EngineMetering,
): {
  readonly engine: Engine;
  readonly kernels: () => Promise<Kernels>;
} {
  metering.metrics.register(ENGINE_METRICS);
  metering.metrics.set('engine_session_limit_bytes', engineCacheBytes);
  const engine = lazyEngine(async () => {
    const { OrtEngine } = await import('@heddle/adapters/ort');
    const started = await OrtEngine.start({ providers, threads, cacheBytes: engineCacheBytes });
    return meteredEngine(started, metering);
  });
  let kernels: Promise<Kernels> | undefined;
  const openKernels = () => {
    kernels ??= import('@heddle/adapters/kernels').then(
      ({ WasmKernels }) => new WasmKernels({ threads: Math.min(threads, KERNEL_THREADS_MAX) }),
    );
    return kernels;
  };
  return { engine, kernels: openKernels };
}
