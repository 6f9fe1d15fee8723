import type { CommandIo } from './cluster-host.ts';
import { showBytes } from './show.ts';

export interface ProgressShown {
  update(done: number, total: number, unit: string, message: string): void;
  stop(): void;
}

/** Bar, rate and time left on stderr; nothing at all where stderr is no terminal, or with --json. */
export async function showProgress(io: CommandIo, quiet: boolean): Promise<ProgressShown> {
  if (!io.terminal || quiet) return { update: () => {}, stop: () => {} };
  const { SingleBar, Presets } = await import('cli-progress');
  const format = '{bar} {done} · {rate}/s · {left} {message}';
  const bar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
  let shown = false;
  // A job counts in one unit after another; the rate is that of the present one, from where it was first seen.
  let counted = { unit: '', from: 0, started: 0 };
  return {
    update: (done, total, unit, message) => {
      if (unit !== counted.unit || done < counted.from) {
        counted = { unit, from: done, started: performance.now() };
      }
      const seconds = (performance.now() - counted.started) / 1000;
      const rate = seconds > 0 ? (done - counted.from) / seconds : 0;
      const isBytes = unit === 'bytes';
      const payload = {
        done: isBytes ? `${showBytes(done)} of ${showBytes(total)}` : `${done}/${total} ${unit}`,
        message,
        rate: isBytes ? showBytes(Math.round(rate)) : rate.toPrecision(3),
        left: timeLeft(total - done, rate),
      };
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

/** `1m 05s left`; nothing while the rate is not known. */
function timeLeft(work: number, rate: number): string {
  if (rate <= 0 || work < 0) return '';
  const seconds = Math.round(work / rate);
  const minutes = Math.floor(seconds / 60);
  const rest = `${seconds % 60}s`;
  return `${minutes > 0 ? `${minutes}m ${rest.padStart(3, '0')}` : rest} left`;
}
