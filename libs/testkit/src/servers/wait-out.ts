/** The queue contract's ack wait is 600 ms: it waits for half of that, or for more than all of it. */
const RUN_OUT_MS = 500;
/** A real server's timers come late on a busy machine: what must have run out by then gets much more time … */
const LATE_MS = 400;
/** … and what must not have, hardly any. */
const HARDLY_MS = 20;

/** Lets the time of a real server go by, for `queueContract`. */
export function waitOut(ms: number): Promise<void> {
  const slackMs = ms > RUN_OUT_MS ? LATE_MS : HARDLY_MS;
  return new Promise((resolve) => setTimeout(resolve, ms + slackMs));
}
