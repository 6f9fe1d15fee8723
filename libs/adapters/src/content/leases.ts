import { randomUUID } from 'node:crypto';
import { mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { readdir, stat, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { HEARTBEAT_MS, LEASE_STALE_MS } from './limits.ts';

/**
 * *What is in use.* One file `HEX.PROCESS` for each content that a process uses, touched while it lives, so that processes
 * that share a cache do not evict what another reads. Counted within the process; the first use makes the file, the last removes it.
 */
export class Leases {
  private readonly directory: string;
  private readonly owner = randomUUID();
  private readonly counts = new Map<string, number>();
  private readonly heartbeat: NodeJS.Timeout;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    this.heartbeat = setInterval(() => void this.touch(), HEARTBEAT_MS);
    this.heartbeat.unref();
  }

  /** Returns how to end the use; ending it twice is ending it once. */
  take(hex: string): () => void {
    const count = this.counts.get(hex) ?? 0;
    // Without a pause in between: whoever evicts looks for the file after it has taken the record away.
    if (count === 0) writeFileSync(this.path(hex), '');
    this.counts.set(hex, count + 1);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.end(hex);
    };
  }

  /** Whether this process or a living other one uses it. */
  async isTaken(hex: string): Promise<boolean> {
    if (this.counts.has(hex)) return true;
    for (const name of await readdir(this.directory)) {
      if (!name.startsWith(`${hex}.`)) continue;
      const path = join(this.directory, name);
      const found = await stat(path).catch(() => undefined);
      if (found === undefined) continue;
      if (Date.now() - found.mtimeMs < LEASE_STALE_MS) return true;
      await unlink(path).catch(() => undefined);
    }
    return false;
  }

  close(): void {
    clearInterval(this.heartbeat);
    for (const hex of [...this.counts.keys()]) {
      this.counts.set(hex, 1);
      this.end(hex);
    }
  }

  private end(hex: string): void {
    const left = (this.counts.get(hex) ?? 1) - 1;
    if (left > 0) {
      this.counts.set(hex, left);
      return;
    }
    if (!this.counts.delete(hex)) return;
    try {
      unlinkSync(this.path(hex));
    } catch {
      // the folder is gone with all that was in it
    }
  }

  private async touch(): Promise<void> {
    const now = new Date();
    for (const hex of this.counts.keys()) {
      await utimes(this.path(hex), now, now).catch(() => undefined);
    }
  }

  private path(hex: string): string {
    return join(this.directory, `${hex}.${this.owner}`);
  }
}
