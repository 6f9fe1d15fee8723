import { OperationError } from '@heddle/core';
import type { EngineUsage } from '@heddle/ports';
import { SESSION_OVERHEAD_BYTES } from './limits.ts';

export interface Cacheable {
  readonly digest: string;
  readonly residentBytes: number;
}

export interface SessionCacheOptions<P extends Cacheable, S> {
  readonly budgetBytes: number;
  readonly open: (program: P) => Promise<S>;
  readonly release: (session: S) => Promise<void>;
}

/**
 * Open sessions by program digest, the least recently used released first. Room is made before a session is opened, so that the
 * peak stays under the budget too. One caller at a time (the worker is sequential).
 */
export class SessionCache<P extends Cacheable, S> {
  private readonly options: SessionCacheOptions<P, S>;
  /** In order of use, the oldest first: a Map keeps insertion order. */
  private readonly entries = new Map<string, { readonly session: S; readonly bytes: number }>();
  private residentBytes = 0;
  private hits = 0;
  private misses = 0;
  private evictions = 0;

  constructor(options: SessionCacheOptions<P, S>) {
    this.options = options;
  }

  async get(program: P): Promise<S> {
    const found = this.entries.get(program.digest);
    if (found) {
      this.hits++;
      this.entries.delete(program.digest);
      this.entries.set(program.digest, found);
      return found.session;
    }
    this.misses++;
    const bytes = program.residentBytes + SESSION_OVERHEAD_BYTES;
    await this.makeRoom(bytes, program.digest);
    const session = await this.options.open(program);
    this.entries.set(program.digest, { session, bytes });
    this.residentBytes += bytes;
    return session;
  }

  usage(): EngineUsage {
    return {
      sessionsOpen: this.entries.size,
      residentBytes: this.residentBytes,
      hits: this.hits,
      misses: this.misses,
      evictions: this.evictions,
    };
  }

  async clear(): Promise<void> {
    for (const digest of [...this.entries.keys()]) await this.drop(digest);
  }

  private async makeRoom(bytes: number, digest: string): Promise<void> {
    const { budgetBytes } = this.options;
    if (bytes > budgetBytes) {
      throw new OperationError({
        code: 'resource_exhausted',
        message: `program ${digest} alone holds ${bytes} bytes of weights and session, more than the engine's budget of ${budgetBytes}; raise the session budget`,
        retryable: false,
        details: { program: digest, estimateBytes: bytes, limitBytes: budgetBytes },
      });
    }
    for (const oldest of this.entries.keys()) {
      if (this.residentBytes + bytes <= budgetBytes) return;
      await this.drop(oldest);
      this.evictions++;
    }
  }

  private async drop(digest: string): Promise<void> {
    const entry = this.entries.get(digest);
    if (!entry) return;
    this.entries.delete(digest);
    this.residentBytes -= entry.bytes;
    await this.options.release(entry.session);
  }
}
