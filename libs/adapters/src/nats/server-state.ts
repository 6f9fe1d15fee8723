import { askVarz } from './sync-mode.ts';

/** What a server says of itself, where it has JetStream. */
export interface NatsServerState {
  readonly storageBytes: number;
  /** What streams may take in all, and what they have set aside; a stream that finds no room cannot be made. */
  readonly storageBytesMax: number;
  readonly reservedBytes: number;
  readonly memoryBytes: number;
  readonly connections: number;
  /** Connections that it gave up because they did not read, since it started. */
  readonly slowConsumers: number;
}

/** Of the server behind a monitoring address; undefined when it does not say. nats-server has no /metrics of its own. */
export async function readServerState(monitor: string): Promise<NatsServerState | undefined> {
  try {
    return parseServerState(await askVarz(monitor));
  } catch {
    return undefined;
  }
}

/** Of a `/varz` answer. */
export function parseServerState(text: string): NatsServerState | undefined {
  const varz = JSON.parse(text) as Varz;
  const { config, stats } = varz.jetstream ?? {};
  if (config === undefined || stats === undefined) return undefined;
  return {
    storageBytes: stats.storage ?? 0,
    storageBytesMax: config.max_storage ?? 0,
    reservedBytes: stats.reserved_storage ?? 0,
    memoryBytes: varz.mem ?? 0,
    connections: varz.connections ?? 0,
    slowConsumers: varz.slow_consumers ?? 0,
  };
}

interface Varz {
  readonly mem?: number;
  readonly connections?: number;
  readonly slow_consumers?: number;
  readonly jetstream?: {
    readonly config?: { readonly max_storage?: number };
    readonly stats?: { readonly storage?: number; readonly reserved_storage?: number };
  };
}
