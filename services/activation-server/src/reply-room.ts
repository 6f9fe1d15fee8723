import { OperationError, resourceExhausted } from '@heddle/core';

interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

/**
 * Memory for results that are computed or about to be, and not yet taken by their readers, of all runs together. A new run is refused when
 * there is none; one that is under way waits for its turn, and goes on as others' readers take theirs.
 */
export class ReplyRoom {
  private readonly bytesMax: number;
  private readonly waiters: Waiter[] = [];
  private held = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.waiters.length > 0 || this.held >= this.bytesMax;
  }

  /** Takes the room if it is there. What alone is larger than all of it has it alone. */
  tryTake(bytes: number): boolean {
    if (this.waiters.length > 0 || !this.fits(bytes)) return false;
    this.held += bytes;
    return true;
  }

  /** Errors: the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.tryTake(bytes)) return;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { bytes, grant: resolve };
    const leave = (): void => {
      const place = this.waiters.indexOf(waiter);
      if (place < 0) return; // granted already
      this.waiters.splice(place, 1);
      reject(OperationError.from(signal.reason));
      this.admit();
    };
    this.waiters.push(waiter);
    signal.addEventListener('abort', leave, { once: true });
    await promise.finally(() => signal.removeEventListener('abort', leave));
  }

  give(bytes: number): void {
    this.held -= bytes;
    this.admit();
  }

  refusal(retryAfterMs: number): OperationError {
    return resourceExhausted(
      `results of ${this.held} bytes wait for their readers, ${this.bytesMax} are kept at most; try again later`,
      { retryAfterMs, details: { limit: this.bytesMax, held: this.held } },
    );
  }

  private fits(bytes: number): boolean {
    return this.held === 0 || this.held + bytes <= this.bytesMax;
  }

  private admit(): void {
    for (let first = this.waiters[0]; first && this.fits(first.bytes); first = this.waiters[0]) {
      this.waiters.shift();
      this.held += first.bytes;
      first.grant();
    }
  }
}
