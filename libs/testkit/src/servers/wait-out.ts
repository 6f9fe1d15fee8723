/** A server's timers and ours do not begin at the same moment. */
const HARDLY_MS = 20;

/** Lets the time of a real server go by, for `queueContract`, which takes into account how late this machine is. */
export function waitOut(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms + HARDLY_MS));
}
