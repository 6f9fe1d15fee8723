import { AsyncLocalStorage } from 'node:async_hooks';
import type { Caller, Callers } from '@heddle/ports';

/** Who asks where no call came from outside: the cluster itself, and everybody where nobody is asked who he is. */
export const CLUSTER: Caller = Object.freeze({ tenant: '', role: 'admin' });

/** Who asks, along promises and streams of this process. One for a process: server, channels and jobs share it. */
export function callContext(): Callers {
  const storage = new AsyncLocalStorage<Caller>();
  return {
    current: () => storage.getStore() ?? CLUSTER,
    run: (caller, body) => storage.run(caller, body),
  };
}
