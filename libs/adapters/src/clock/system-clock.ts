import type { Clock } from '@heddle/ports';

/** The machine's time. `sleep(0)` lets the event loop turn once; an aborted sleep ends early and does not throw. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    if (signal?.aborted) return Promise.resolve();
    if (ms <= 0) {
      return new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      // A timer of more than 2^31 ms would fire at once.
      const timer = setTimeout(end, Math.min(ms, 2 ** 31 - 1));
      signal?.addEventListener('abort', end, { once: true });
    });
  },
};
