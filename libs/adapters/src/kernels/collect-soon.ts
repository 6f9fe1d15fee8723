import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/**
 * Asks V8 to look for garbage once the caller has let go. V8 counts ordinary buffers as memory pressure, shared ones not at
 * all: without this the gigabytes of a finished training stay until other garbage happens to call for a collection.
 */
export function collectSoon(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }
  setImmediate(collect).unref();
}
