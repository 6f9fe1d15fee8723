import { NATS_LIMITS } from './limits.ts';

/** When a server's file store reaches the disk: what a power cut can take back of what was acknowledged. */
export type SyncMode =
  | { readonly kind: 'always' }
  | { readonly kind: 'interval'; readonly intervalMs: number }
  | { readonly kind: 'unknown'; readonly reason: string };

/** The weakest mode of all servers; the client protocol does not tell it, so it is read from their monitoring. */
export async function readSyncMode(monitors: readonly string[]): Promise<SyncMode> {
  if (monitors.length === 0)
    return { kind: 'unknown', reason: 'no monitoring address is set: HEDDLE_NATS_MONITORS' };
  const modes = await Promise.all(monitors.map(modeOf));
  const rank = (mode: SyncMode): number =>
    mode.kind === 'always' ? 0 : mode.kind === 'interval' ? 1 + mode.intervalMs : Infinity;
  return modes.reduce((weakest, mode) => (rank(mode) > rank(weakest) ? mode : weakest));
}

async function modeOf(monitor: string): Promise<SyncMode> {
  const unknown = (reason: string): SyncMode => ({
    kind: 'unknown',
    reason: `${monitor}: ${reason}`,
  });
  try {
    return parseVarz(await askVarz(monitor)) ?? unknown('says nothing about JetStream');
  } catch (error) {
    // `fetch failed` says nothing; its cause does.
    const { message, cause } = error as Error;
    return unknown(cause instanceof Error && cause.message ? cause.message : message);
  }
}

/** What a server says of itself. Errors: whatever kept it from answering in time, whole and within bounds. */
export async function askVarz(monitor: string): Promise<string> {
  const url = new URL('/varz', monitor);
  const answer = await fetch(url, { signal: AbortSignal.timeout(NATS_LIMITS.monitorMs) });
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  const text = await answer.text();
  if (text.length > NATS_LIMITS.monitorBytesMax) throw new Error('answered too much');
  return text;
}

/** `sync_always` and `sync_interval` (nanoseconds) of a `/varz` answer. */
export function parseVarz(text: string): SyncMode | undefined {
  const { jetstream } = JSON.parse(text) as {
    readonly jetstream?: {
      readonly config?: { readonly sync_interval?: number; readonly sync_always?: boolean };
    };
  };
  const config = jetstream?.config;
  if (config?.sync_always === true) return { kind: 'always' };
  const nanos = config?.sync_interval;
  return nanos === undefined ? undefined : { kind: 'interval', intervalMs: nanos / 1e6 };
}
