import { createHash, randomUUID } from 'node:crypto';
import {
  assert,
  canonicalJson,
  failedPrecondition,
  invalidArgument,
  type Json,
  notFound,
  OperationError,
  present,
} from '@heddle/core';
import type {
  BlobDigest,
  Blobs,
  Clock,
  Events,
  Journal,
  Log,
  Metrics,
  WorkQueue,
} from '@heddle/ports';
import type { JobMessage } from '../job/messages.ts';
import { isSettled, type JobState } from '../job/state.ts';
import { JOB_LIMITS, KIND_DEFAULTS } from '../limits.ts';
import { admit, type Registered, splitTasks } from './admission.ts';
import { openCheckpoint } from './checkpoint-frame.ts';
import { collect, type GcOptions, type GcReport } from './collect.ts';
import { JobActors } from './job-actors.ts';
import type { Estimate, JobKind, Snapshot } from './job-kind.ts';
import { type JobView, type ViewStatus, viewOf } from './job-view.ts';
import { JobMeters } from './metrics.ts';
import { ProgressBook } from './progress-book.ts';
import { Reconciler } from './reconciler.ts';
import { watch } from './watch.ts';
import { type StopReport, Workers } from './workers.ts';

export interface JobRuntimeOptions {
  readonly journal: Journal;
  readonly queue: WorkQueue;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly events: Events;
  /** Versions of what computes; go into every result's provenance. */
  readonly versions?: Readonly<Record<string, Json>>;
  /** What one job may cost here at most; absent means that only the request's own budget counts. */
  readonly budgetMax?: Partial<Estimate>;
  /** Blobs that something other than a job keeps from `gc`. */
  readonly roots?: () => Promise<readonly BlobDigest[]>;
  /**
   * A task was told to stop minutes ago and computes on: native code that hangs. A service ends its process here, with
   * the reason; the jobs go on elsewhere or after the next start. Absent, it is only logged.
   */
  readonly onStuck?: (job: string, why: string) => void;
  /** Source of names nobody else has; a simulation gives its own. */
  readonly newName?: () => string;
}

export interface SubmitOptions {
  /** The client's name for this request: asked again under it, the same job is meant. Empty is none. */
  readonly key?: string;
  readonly budget?: Partial<Estimate>;
  /** Kept by `gc` whatever the budgets say. */
  readonly pinned?: boolean;
}

export interface ListOptions {
  readonly kind?: string;
  readonly statuses?: readonly ViewStatus[];
  readonly limit?: number;
  /** A job's id: only those created before it. */
  readonly before?: string;
}

export interface JobResult {
  readonly digest: BlobDigest;
  readonly bytes: number;
  readonly references: readonly BlobDigest[];
  readonly provenance: { readonly [name: string]: Json };
}

const KIND = /^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/;

/** Jobs, for handlers: submits, tells, watches; and, between `start` and `stop`, works on those of its kinds. */
export class JobRuntime {
  private readonly options: JobRuntimeOptions;
  private readonly kinds = new Map<string, Registered>();
  private readonly actors: JobActors;
  private readonly meters: JobMeters;
  private readonly progress = new ProgressBook();
  private readonly reconciler: Reconciler;
  private readonly workers: Workers;
  private readonly newName: () => string;
  private readonly running = new AbortController();
  private background: readonly Promise<void>[] = [];

  constructor(options: JobRuntimeOptions) {
    const { journal, queue, blobs, clock, events, metrics } = options;
    const log = options.log.child({ part: 'jobs' });
    this.options = options;
    this.newName = options.newName ?? randomUUID;
    this.meters = new JobMeters(metrics);
    const { meters } = this;
    this.actors = new JobActors({ journal, queue, blobs, clock, log, meters });
    const { actors } = this;
    const kinds = (): readonly string[] => [...this.kinds.keys()];
    this.reconciler = new Reconciler({ actors, queue, clock, log, meters, kinds });
    const versions = options.versions ?? {};
    const onStuck = options.onStuck ?? (() => undefined);
    const ports = { actors, blobs, clock, events, log, meters, versions, onStuck };
    this.workers = new Workers({ ports, queue, worker: this.newName() });
  }

  /** Before `start`. */
  register(kind: JobKind): void {
    assert(KIND.test(kind.kind), () => `'${kind.kind}' is no kind of job: <domain>.<verb>`);
    assert(!this.kinds.has(kind.kind), () => `${kind.kind} is registered twice`);
    assert(this.background.length === 0, () => `${kind.kind} is registered after the start`);
    this.kinds.set(kind.kind, { kind, limits: { ...KIND_DEFAULTS, ...kind.limits } });
  }

  /** Takes up what was left unfinished, then works. */
  async start(): Promise<void> {
    assert(this.background.length === 0, 'started twice');
    const { signal } = this.running;
    this.meters.open([...this.kinds.keys()]);
    this.background = [
      this.progress.listen(this.options.events, signal),
      this.reconciler.repeat(signal),
      this.collectRepeatedly(signal),
    ];
    await this.reconciler.pass();
    // A number for people must not keep the work from starting.
    await this.reconciler.gauge().catch(() => undefined);
    for (const { kind, limits } of this.kinds.values()) this.workers.start(kind, limits);
  }

  /** Drains: running tasks save, are handed back, and go on elsewhere or after the next start. */
  async stop(graceMs: number): Promise<StopReport> {
    const report = await this.workers.stop(graceMs);
    this.running.abort();
    await Promise.all(this.background);
    return report;
  }

  /**
   * Accepts a job; it is in the journal when this resolves. Errors: `not_found` for an unknown kind;
   * `already_exists` for the key of another request; `resource_exhausted` with the estimate or a retry delay.
   */
  async submit(kind: string, request: Json, options: SubmitOptions = {}): Promise<JobView> {
    const registered = this.kinds.get(kind);
    if (registered === undefined) throw notFound(`no service here runs jobs of kind '${kind}'`);
    const key = options.key || this.newName();
    if (key.length > JOB_LIMITS.keyCharsMax) {
      throw invalidArgument(
        `a client key has at most ${JOB_LIMITS.keyCharsMax} characters, not ${key.length}`,
        { field: 'client_key', details: { charsMax: JOB_LIMITS.keyCharsMax } },
      );
    }
    const id = jobId(kind, key);
    const plain = JSON.parse(canonicalJson(request)) as Json; // what the journal will give back
    const known = await this.actors.look(id);
    if (known.status === 'absent') {
      const budgets = [options.budget ?? {}, this.options.budgetMax ?? {}];
      await admit(registered, plain, { budgets, queue: this.options.queue, meters: this.meters });
    }
    const tasks = await splitTasks(registered.kind, plain);
    return this.tell(id, {
      type: 'submit',
      kind,
      key,
      request: plain,
      pinned: options.pinned ?? false,
      attemptsMax: registered.limits.attemptsMax,
      tasks,
      reduce: registered.kind.reduce !== undefined || tasks.length > 1,
      nowMs: this.options.clock.now(),
    });
  }

  async get(id: string): Promise<JobView> {
    return this.view(await this.known(id));
  }

  /** Newest first. */
  async list(
    options: ListOptions = {},
  ): Promise<{ readonly jobs: readonly JobView[]; readonly next?: string }> {
    const limit = Math.min(options.limit ?? JOB_LIMITS.listMax, JOB_LIMITS.listMax);
    const ids: string[] = [];
    const prefix = options.kind === undefined ? '' : `${idPrefix(options.kind)}-`;
    for await (const id of this.actors.ids(prefix)) {
      if (id === options.before) break;
      ids.push(id);
    }
    const jobs: JobView[] = [];
    for (const id of ids.reverse()) {
      const state = await this.lookOrTell(id);
      if (state === undefined || state.status === 'absent') continue; // collected meanwhile
      if (options.kind !== undefined && state.kind !== options.kind) continue;
      const view = this.view(state);
      if (options.statuses !== undefined && !options.statuses.includes(view.status)) continue;
      if (jobs.length === limit) return { jobs, next: present(jobs.at(-1), 'last').id };
      jobs.push(view);
    }
    return { jobs };
  }

  /** The job now, then at each change; ends after it is settled, or with the signal. */
  async *watch(id: string, signal: AbortSignal): AsyncGenerator<JobView> {
    const state = await this.known(id);
    yield* watch({ journal: this.options.journal, progress: this.progress, state }, signal);
  }

  /** The settled job. Errors: `cancelled` with the signal. */
  async wait(id: string, signal: AbortSignal = new AbortController().signal): Promise<JobView> {
    for await (const view of this.watch(id, signal)) {
      if (view.status === 'completed' || view.status === 'failed') return view;
      if (view.status === 'cancelled') return view;
    }
    throw new OperationError({ code: 'cancelled', message: `no longer waiting for job ${id}` });
  }

  cancel(id: string): Promise<JobView> {
    return this.command(id, 'cancel');
  }

  pause(id: string): Promise<JobView> {
    return this.command(id, 'pause');
  }

  /** Goes on from the last checkpoints; also a failed job whose error could pass. */
  resume(id: string): Promise<JobView> {
    return this.command(id, 'resume');
  }

  pin(id: string): Promise<JobView> {
    return this.tell(id, { type: 'pin', pinned: true, nowMs: this.options.clock.now() });
  }

  unpin(id: string): Promise<JobView> {
    return this.tell(id, { type: 'pin', pinned: false, nowMs: this.options.clock.now() });
  }

  /** Its result is used again: within budgets, `gc` frees first what was used longest ago. */
  touch(id: string): Promise<JobView> {
    return this.tell(id, { type: 'touch', nowMs: this.options.clock.now() });
  }

  /** Errors: `failed_precondition` unless the job is completed. */
  async result(id: string): Promise<JobResult> {
    const { status, result, provenance, error } = this.view(await this.known(id));
    if (result === undefined) {
      const why = error === undefined ? '' : `: ${error.message}`;
      throw failedPrecondition(`job ${id} has no result, it is ${status}${why}`);
    }
    return { ...result, provenance: present(provenance, 'provenance') };
  }

  /**
   * The last checkpoint of a job of one task, whatever became of the job; the one before it where the last is damaged, or
   * superseded and removed meanwhile. A cancelled job has none: nobody will go on from it, and it was removed. Errors:
   * `not_found`, `data_loss`.
   */
  async checkpoint(id: string): Promise<Snapshot | undefined> {
    const state = await this.known(id);
    if (state.status === 'cancelled') return undefined;
    const [task] = state.tasks;
    let failure: unknown;
    for (const kept of [task?.checkpoint, task?.earlier]) {
      if (kept === undefined) continue;
      const { blob, cursor, references } = kept;
      try {
        const framed = await this.options.blobs.read(blob);
        return { bytes: openCheckpoint(framed, { job: id, task: 0, cursor }), cursor, references };
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }

  /** Frees what no pinned and no unfinished job needs, or only what is past the budgets; says what. */
  async gc(options: GcOptions = {}): Promise<GcReport> {
    const { journal, blobs, clock, roots } = this.options;
    const kept = (await roots?.()) ?? [];
    const retainedBytesMax = (kind: string): number =>
      this.kinds.get(kind)?.limits.retainedBytesMax ?? KIND_DEFAULTS.retainedBytesMax;
    const { actors } = this;
    return collect({ ...options, actors, journal, blobs, clock, roots: kept, retainedBytesMax });
  }

  private async collectRepeatedly(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options;
    while (!signal.aborted) {
      await clock.sleep(JOB_LIMITS.collectEveryMs, signal);
      if (signal.aborted) return;
      try {
        const { freedBytes, jobs } = await this.gc({ withinBudgets: true });
        if (freedBytes > 0) log.info('freed what is past its budget', { freedBytes, jobs });
      } catch (error) {
        log.error('what is past its budget could not be freed', { error });
      }
    }
  }

  /** One damaged journal must not hide all other jobs. */
  private async lookOrTell(id: string): Promise<JobState | undefined> {
    try {
      return await this.actors.look(id);
    } catch (error) {
      if (OperationError.from(error).code !== 'data_loss') throw error;
      this.options.log.error('a job is left out: its journal is damaged', { job: id, error });
      return undefined;
    }
  }

  private command(id: string, type: 'pause' | 'resume' | 'cancel'): Promise<JobView> {
    return this.tell(id, { type, nowMs: this.options.clock.now() });
  }

  private async tell(id: string, message: JobMessage): Promise<JobView> {
    if (message.type !== 'submit') await this.known(id);
    const { state, reply } = await this.actors.tell(id, message);
    if (reply.type === 'refuse') throw new OperationError(reply.error);
    return this.view(state);
  }

  private async known(id: string): Promise<JobState> {
    if (!/^[a-z0-9-]{1,100}$/.test(id)) throw notFound(`'${id.slice(0, 100)}' names no job`);
    const state = await this.actors.look(id);
    if (state.status === 'absent') throw notFound(`no job ${id}`);
    return state;
  }

  private view(state: JobState): JobView {
    return viewOf(state, isSettled(state.status) ? undefined : this.progress.of(state.id));
  }
}

/** Follows from the kind and the key alone, so that any replica gives the same request the same id. */
function jobId(kind: string, key: string): string {
  const digest = createHash('sha256').update(`${kind}\n${key}`).digest('hex');
  return `${idPrefix(kind)}-${digest.slice(0, 12)}`;
}

function idPrefix(kind: string): string {
  return kind.replace('.', '-');
}
