import { readFileSync, writeFileSync } from 'node:fs';

const SETTLE_MS = 10_000;

/**
 * Ends the program that a cluster before us left running, because it was killed itself: two servers over one folder would
 * damage it. A process counts only if its command line names the folder, since the kernel gives numbers again.
 */
export async function endLeftover(pidFile: string, folder: string): Promise<void> {
  const pid = pidIn(pidFile);
  if (pid === undefined || !isOf(pid, folder)) return;
  process.kill(pid, 'SIGTERM');
  const untilMs = Date.now() + SETTLE_MS;
  while (isOf(pid, folder)) {
    if (Date.now() > untilMs) process.kill(pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Makes us the one cluster of the folder. Errors: another one runs. */
export function claim(pidFile: string, script: string): void {
  const pid = pidIn(pidFile);
  if (pid !== undefined && pid !== process.pid && isOf(pid, script)) {
    throw new Error(`a cluster runs on this folder already (process ${pid}): stop it first`);
  }
  writeFileSync(pidFile, `${process.pid}\n`);
}

function pidIn(file: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(file, 'utf8'), 10) || undefined;
  } catch {
    return undefined;
  }
}

/** Whether the process lives and its command line has this text. */
function isOf(pid: number, text: string): boolean {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
  } catch {
    return false;
  }
}
