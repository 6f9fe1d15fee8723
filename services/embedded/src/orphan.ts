/**
 * The launcher gives its child a channel; when it closes, the launcher is gone, even by SIGKILL, and nobody would be
 * left to stop us. The channel alone keeps no process alive.
 */
export function parentGone(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (process.channel === undefined) return promise; // started by hand: nobody to outlive
  process.once('disconnect', () => resolve());
  if (process.connected === false) resolve();
  process.channel?.unref();
  return promise;
}
