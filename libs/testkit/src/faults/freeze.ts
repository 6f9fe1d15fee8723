import { readFile } from 'node:fs/promises';
import { until } from '../servers/free-port.ts';

interface Signalled {
  readonly pid: number;
  signal(signal: NodeJS.Signals): void;
}

/** Stops a process as it stands (`SIGSTOP`); resolves when the kernel says that it has stopped. */
export async function freeze(process: Signalled): Promise<void> {
  process.signal('SIGSTOP');
  await until(`the stop of ${process.pid}`, async () => (await stateOf(process.pid)) === 'T');
}

/** Lets it go on (`SIGCONT`). */
export function thaw(process: Signalled): void {
  process.signal('SIGCONT');
}

/** `R` running, `S` sleeping, `T` stopped, `Z` ended and not yet reaped. The second word of its `stat`, after the name in brackets. */
async function stateOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
}
