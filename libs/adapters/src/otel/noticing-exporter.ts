import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { SpanTally } from './span-tally.ts';

type Spans = Parameters<SpanExporter['export']>[0];
type Done = Parameters<SpanExporter['export']>[1];
type Result = Parameters<Done>[0];

const SENT = 0;
const LOST = 1;

export interface ExportNotices {
  /** The first batch that could not be sent since one was. */
  onLost(error: Error | undefined): void;
  /** The first one that could again, and how many spans were lost between. */
  onSentAgain(spansLost: number): void;
}

/** An exporter that counts, and says once that its receiver is away, and once that it is back. */
export class NoticingExporter implements SpanExporter {
  private readonly inner: SpanExporter;
  private readonly notices: ExportNotices;
  private readonly tally: SpanTally;
  /** Since one was sent. */
  private lost = 0;

  /** What was sent last was lost. */
  get isAway(): boolean {
    return this.lost > 0;
  }

  constructor(inner: SpanExporter, tally: SpanTally, notices: ExportNotices) {
    this.inner = inner;
    this.tally = tally;
    this.notices = notices;
  }

  export(spans: Spans, done: Done): void {
    this.tally.waiting -= spans.length;
    const finish: Done = (result) => {
      this.note(result, spans.length);
      done(result);
    };
    try {
      this.inner.export(spans, finish);
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      finish({ code: LOST, error });
    }
  }

  shutdown(): Promise<void> {
    return this.inner.shutdown();
  }

  private note({ code, error }: Result, spans: number): void {
    const before = this.lost;
    this.tally[code === SENT ? 'sent' : 'lost'] += spans;
    if (code !== SENT) {
      this.lost += spans;
      if (before === 0) this.notices.onLost(error);
      return;
    }
    this.lost = 0;
    if (before > 0) this.notices.onSentAgain(before);
  }
}
