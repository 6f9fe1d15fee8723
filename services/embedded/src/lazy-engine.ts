import type { Engine, EngineUsage } from '@heddle/ports';

const NOTHING: EngineUsage = {
  sessionsOpen: 0,
  residentBytes: 0,
  hits: 0,
  misses: 0,
  evictions: 0,
};

/** An engine that starts with the first plan: tokenising or listing jobs never loads ONNX Runtime. */
export function lazyEngine(start: () => Promise<Engine>): Engine {
  let engine: Promise<Engine> | undefined;
  const started = (): Promise<Engine> => {
    engine ??= start();
    engine.catch(() => {
      engine = undefined; // the next caller tries again, and is told why it fails
    });
    return engine;
  };
  return {
    report: async () => (await started()).report(),
    run: async (plan, options) => (await started()).run(plan, options),
    usage: async () => (engine === undefined ? NOTHING : (await engine).usage()),
    close: async () => {
      await (await engine?.catch(() => undefined))?.close();
    },
  };
}
