import { resourceExhausted } from '@heddle/core';

/** One command at a time, in order of arrival; a full one refuses. */
export class Mailbox {
  private tail: Promise<unknown> = Promise.resolve();
  private length = 0;
  private readonly lengthMax: number;

  constructor(lengthMax: number) {
    this.lengthMax = lengthMax;
  }

  get isEmpty(): boolean {
    return this.length === 0;
  }

  /** Errors: those of `body`; `resource_exhausted` when too many wait already. */
  post<T>(body: () => Promise<T>): Promise<T> {
    if (this.length >= this.lengthMax) {
      const limit = { mailboxMax: this.lengthMax };
      return Promise.reject(
        resourceExhausted(`${this.length} commands wait for this actor: try again`, {
          retryAfterMs: 1_000,
          details: limit,
        }),
      );
    }
    this.length += 1;
    const turn = this.tail.then(body).finally(() => {
      this.length -= 1;
    });
    this.tail = turn.catch(() => undefined);
    return turn;
  }
}
