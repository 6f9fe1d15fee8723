/** Spans of a process that were to be sent, by what became of them. */
export interface SpanCounts {
  readonly sent: number;
  /** The receiver was away, or refused them. */
  readonly lost: number;
  /** As many as may waited already when they ended. */
  readonly dropped: number;
}

export class SpanTally implements SpanCounts {
  sent = 0;
  lost = 0;
  dropped = 0;
  /** Ended, and not handed to the exporter yet. */
  waiting = 0;
}
