import { OperationError } from '@heddle/core';
import type { Clock, Journal, JournalEvent } from '@heddle/ports';

export interface MemoryJournalOptions {
  readonly clock: Clock;
  /** Switched off, an append goes to the end whatever was expected: what a simulation must then notice. */
  readonly fence?: boolean;
}

/** The journal's contract in memory, for simulations; it runs the contract suite too. */
export class MemoryJournal implements Journal {
  private readonly options: MemoryJournalOptions;
  private readonly byStream = new Map<string, JournalEvent[]>();
  private readonly waiters = new Set<() => void>();
  private lives = 0;

  constructor(options: MemoryJournalOptions) {
    this.options = options;
  }

  async append(
    stream: string,
    expected: number,
    events: readonly Uint8Array[],
    life?: number,
  ): Promise<number> {
    const known = this.byStream.get(stream) ?? [];
    const present = known[0]?.life ?? ++this.lives;
    const another = expected > 0 && life !== undefined && life !== present;
    if (this.options.fence !== false && (known.length !== expected || another)) {
      throw new OperationError({
        code: 'aborted',
        message: `${stream} ends at ${known.length}, not at ${expected}`,
      });
    }
    const timeMs = this.options.clock.now();
    for (const bytes of events) {
      known.push({
        stream,
        sequence: known.length + 1,
        life: present,
        timeMs,
        bytes: bytes.slice(),
      });
    }
    this.byStream.set(stream, known);
    for (const wake of [...this.waiters]) wake();
    return this.options.fence === false ? expected + events.length : known.length;
  }

  async read(stream: string, after = 0): Promise<readonly JournalEvent[]> {
    const known = this.byStream.get(stream) ?? [];
    if (known.length < after) {
      throw new OperationError({
        code: 'aborted',
        message: `${stream} ends at ${known.length}, before ${after}`,
      });
    }
    return known.slice(after).map((event) => ({ ...event, bytes: event.bytes.slice() }));
  }

  async *follow(stream: string, after: number, signal: AbortSignal): AsyncGenerator<JournalEvent> {
    let last = after;
    while (!signal.aborted) {
      for (const event of await this.read(stream, last)) {
        yield event;
        last = event.sequence;
        if (signal.aborted) return;
      }
      if ((this.byStream.get(stream)?.length ?? 0) > last) continue;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.waiters.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.waiters.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }

  async streams(prefix: string, limit: number, after?: string): Promise<readonly string[]> {
    const names = [...this.byStream.keys()];
    const from = after === undefined ? 0 : names.indexOf(after) + 1;
    return names
      .slice(from)
      .filter((name) => name.startsWith(prefix))
      .slice(0, limit);
  }

  async ends(prefix: string): Promise<ReadonlyMap<string, number>> {
    const all = [...this.byStream].filter(([name]) => name.startsWith(prefix));
    return new Map(all.map(([name, events]) => [name, events.length]));
  }

  async remove(stream: string, condition?: (last: JournalEvent) => boolean): Promise<void> {
    const last = this.byStream.get(stream)?.at(-1);
    if (last === undefined || condition?.(last) === false) return;
    this.byStream.delete(stream);
  }

  async bytes(): Promise<number> {
    let bytes = 0;
    for (const events of this.byStream.values()) {
      for (const event of events) bytes += event.bytes.length;
    }
    return bytes;
  }

  async close(): Promise<void> {
    for (const wake of [...this.waiters]) wake();
  }
}
