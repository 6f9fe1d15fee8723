import type { CommandIo } from './cluster-host.ts';

export interface ProgressShown {
  update(done: number, total: number, unit: string, message: string): void;
  stop(): void;
}

/** Bar, rate and time left on stderr; nothing at all where stderr is no terminal, or with --json. */
export async function showProgress(io: CommandIo, quiet: boolean): Promise<ProgressShown> {
  if (!io.terminal || quiet) return { update: () => {}, stop: () => {} };
  const { SingleBar, Presets } = await import('cli-progress');
  const format = '{bar} {value}/{total} {unit} · {rate}/s · {eta_formatted} left {message}';
  const bar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: true, etaBuffer: 20 },
    Presets.shades_classic,
  );
  const started = performance.now();
  let shown = false;
  return {
    update: (done, total, unit, message) => {
      const seconds = (performance.now() - started) / 1000;
      const payload = { unit, message, rate: (done / Math.max(seconds, 1e-3)).toPrecision(3) };
      if (!shown) bar.start(total, done, payload);
      shown = true;
      if (total > 0) bar.setTotal(total);
      bar.update(done, payload);
    },
    stop: () => {
      if (shown) bar.stop();
    },
  };
}
