import { type JobKind, JobRuntime, type JobRuntimeOptions } from '@heddle/actor';
import { LocalEvents } from '@heddle/adapters/events';
import type { Blobs, WorkQueue } from '@heddle/ports';
import { CountingMetrics, type LogLine, recordingLog } from './quiet.ts';
import { MemoryBlobs } from './simulated/memory-blobs.ts';
import { MemoryJournal } from './simulated/memory-journal.ts';
import { MemoryQueue } from './simulated/memory-queue.ts';
import { VirtualClock } from './virtual-clock.ts';

/** Stores that several runtimes share, as replicas do, and a clock that a test moves. */
export class JobWorld {
  readonly clock = new VirtualClock();
  readonly journal = new MemoryJournal({ clock: this.clock });
  readonly queue: WorkQueue = new MemoryQueue({ clock: this.clock });
  readonly blobs: Blobs = new MemoryBlobs(this.clock);
  readonly events = new LocalEvents();
  readonly metrics = new CountingMetrics();
  readonly lines: LogLine[] = [];
  readonly log = recordingLog(this.lines);
  private names = 0;

  runtime(kinds: readonly JobKind[], options: Partial<JobRuntimeOptions> = {}): JobRuntime {
    const { clock, journal, queue, blobs, events, metrics } = this;
    const runtime = new JobRuntime({
      journal,
      queue,
      blobs,
      clock,
      events,
      metrics,
      log: this.log,
      versions: { heddle: 'test' },
      newName: () => `name-${this.names++}`,
      ...options,
    });
    for (const kind of kinds) runtime.register(kind);
    return runtime;
  }

  async started(kinds: readonly JobKind[], options: Partial<JobRuntimeOptions> = {}) {
    const runtime = this.runtime(kinds, options);
    await this.clock.run(runtime.start());
    return runtime;
  }

  async text(runtime: JobRuntime, id: string): Promise<string> {
    const { digest } = await runtime.result(id);
    return new TextDecoder().decode(await this.blobs.read(digest));
  }
}
