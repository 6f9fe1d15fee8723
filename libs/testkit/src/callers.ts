import { AsyncLocalStorage } from 'node:async_hooks';
import type { Caller, Callers } from '@heddle/ports';

/** Who asks, for tests without a wire: `as(tenant, body)` is a call of that tenant. */
export class TestCallers implements Callers {
  private readonly storage = new AsyncLocalStorage<Caller>();

  current(): Caller {
    return this.storage.getStore() ?? { tenant: '', role: 'admin' };
  }

  run<T>(caller: Caller, body: () => T): T {
    return this.storage.run(caller, body);
  }

  as<T>(tenant: string, body: () => T): T {
    return this.run({ tenant, role: 'run' }, body);
  }
}
