import { OperationError } from '@heddle/core';
import type { BlobStat, Blobs, Clock, Metrics } from '@heddle/ports';
import { STORE_OPERATIONS } from './metrics.ts';
import type { Stores } from './stores.ts';

export interface StoreMetering {
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonic'>;
}

const NAMED = new Set(['aborted', 'not_found', 'unavailable', 'resource_exhausted', 'data_loss']);

/** The same stores, whatever they are, with what is asked of them timed and counted by how it ended. */
export function meteredStores<T extends Stores>(stores: T, metering: StoreMetering): T {
  return {
    ...stores,
    journal: timed(stores.journal, 'journal', metering),
    queue: timed(stores.queue, 'queue', metering),
  };
}

/** Apart from the others, because local copies are laid over them: what these answer never reached the store. */
export function meteredBlobs(blobs: Blobs, metering: StoreMetering): Blobs {
  const { metrics } = metering;
  const count = (direction: 'written' | 'read', bytes: number): void =>
    metrics.add('stores_blob_bytes_total', bytes, { direction });
  return timed(blobs, 'blobs', metering, (operation, answer) => {
    if (operation === 'blobs.put') count('written', (answer as BlobStat).bytes);
    if (operation === 'blobs.read') count('read', (answer as Uint8Array).length);
    if (operation === 'blobs.get') count('read', (answer as Uint8Array).length);
  });
}

/** Told what a call answered, or each piece of it. */
type OnAnswer = (operation: string, answer: unknown) => void;

/**
 * A store that is its target but for the listed methods: what an adapter has beyond its port (`linkTo`) stays there. Methods
 * are called on the target, whose own calls of each other are therefore not counted twice.
 */
function timed<T extends object>(
  target: T,
  store: keyof typeof STORE_OPERATIONS,
  { metrics, clock }: StoreMetering,
  onAnswer: OnAnswer = () => undefined,
): T {
  const begin = (operation: string): Timing => {
    const startedMs = clock.monotonic();
    const end = (outcome: string): void => {
      metrics.add('stores_operations_total', 1, { operation, outcome });
      const seconds = (clock.monotonic() - startedMs) / 1000;
      metrics.observe('stores_operation_seconds', seconds, { operation });
    };
    return {
      answered: (answer) => onAnswer(operation, answer),
      ended: () => end('ok'),
      failed: (thrown) => {
        const { code } = OperationError.from(thrown);
        end(NAMED.has(code) ? code : 'other');
      },
    };
  };
  const methods = new Map<string | symbol, unknown>();
  for (const name of STORE_OPERATIONS[store]) {
    const method = Reflect.get(target, name) as (...asked: unknown[]) => unknown;
    methods.set(name, (...asked: unknown[]) => {
      const timing = begin(`${store}.${name}`);
      const given = method.apply(target, asked);
      return given instanceof Promise
        ? settled(given, timing)
        : streamed(given as AsyncIterable<unknown>, timing);
    });
  }
  return new Proxy(target, {
    get: (_, name) => {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

interface Timing {
  answered(answer: unknown): void;
  ended(): void;
  failed(thrown: unknown): void;
}

async function settled(given: Promise<unknown>, timing: Timing): Promise<unknown> {
  try {
    const answer = await given;
    timing.answered(answer);
    timing.ended();
    return answer;
  } catch (thrown) {
    timing.failed(thrown);
    throw thrown;
  }
}

/** A stream ends well also when its reader has enough. */
async function* streamed(pieces: AsyncIterable<unknown>, timing: Timing): AsyncGenerator<unknown> {
  let hasFailed = false;
  try {
    for await (const piece of pieces) {
      timing.answered(piece);
      yield piece;
    }
  } catch (thrown) {
    hasFailed = true;
    timing.failed(thrown);
    throw thrown;
  } finally {
    if (!hasFailed) timing.ended();
  }
}
