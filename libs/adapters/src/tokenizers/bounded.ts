import { createContext, Script } from 'node:vm';

const context = createContext({ call: undefined });
const script = new Script('call()');

/**
 * Runs a synchronous function for at most `timeoutMs` and then throws `onTimeout()`. A pattern out of tokenizer.json may
 * backtrack without end; V8's own watchdog, which `vm` exposes, is the one thing that interrupts it on this thread.
 */
export function bounded<T>(call: () => T, timeoutMs: number, onTimeout: () => Error): T {
  const outer = context['call'];
  context['call'] = call;
  try {
    return script.runInContext(context, { timeout: timeoutMs }) as T;
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw onTimeout();
    throw thrown;
  } finally {
    context['call'] = outer;
  }
}
