import { TraceFlags } from '@opentelemetry/api';
import type { SpanProcessor } from '@opentelemetry/sdk-trace';
import { SPANS_WAITING_MAX } from './limits.ts';
import type { SpanTally } from './span-tally.ts';

type Ended = Parameters<SpanProcessor['onEnd']>[0];

/** Batches whose bound is ours: those of the SDK drop what is past theirs, and tell nobody. */
export class BoundedProcessor implements SpanProcessor {
  private readonly batches: SpanProcessor;
  private readonly tally: SpanTally;

  constructor(batches: SpanProcessor, tally: SpanTally) {
    this.batches = batches;
    this.tally = tally;
  }

  onStart(): void {}

  onEnd(span: Ended): void {
    const { tally } = this;
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return;
    if (tally.waiting >= SPANS_WAITING_MAX) {
      tally.dropped += 1;
      return;
    }
    tally.waiting += 1;
    this.batches.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.batches.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.batches.shutdown();
  }
}
