import { randomUUID } from 'node:crypto';
import {
  assert,
  canonicalJson,
  failedPrecondition,
  invalidArgument,
  type Json,
  notFound,
  OperationError,
  present,
  Rng,
} from '@heddle/core';
import {
  type BlobDigest,
  type Blobs,
  type Caller,
  type Callers,
  type Clock,
  type Events,
  type Journal,
  type Log,
  type Metrics,
  NO_TRACING,
  type Tracing,
  type WorkQueue,
} from '@heddle/ports';
import type { JobMessage } from '../job/messages.ts';
import { isSettled, type JobState, ownerOf } from '../job/state.ts';
import { JOB_LIMITS, KIND_DEFAULTS, TENANT_QUOTAS } from '../limits.ts';
import { admit, type Registered, splitTasks } from './admission.ts';
import { openCheckpoint } from './checkpoint-frame.ts';
import { collect, type GcOptions, type GcReport } from './collect.ts';
import { JobActors } from './job-actors.ts';
import { JobDirectory, type ListOptions } from './job-directory.ts';
import { jobId } from './job-id.ts';
import { JobIndex } from './job-index.ts';
import type { Estimate, JobKind, Snapshot } from './job-kind.ts';
import { acceptSpan, inSpan } from './job-spans.ts';
import { type JobView, viewOf } from './job-view.ts';
import { JobMeters } from './metrics.ts';
import { ProgressBook } from './progress-book.ts';
import { Quotas, type TenantQuotas } from './quotas.ts';
import { Reconciler } from './reconciler.ts';
import { SizedBlobs } from './sized-blobs.ts';
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
  /** Who asks; absent, everybody may everything and jobs are nobody's in particular. */
  readonly callers?: Callers;
  /** Absent: jobs leave no spans. */
  readonly tracing?: Tracing | undefined;
  /** What each tenant may have at a time; absent, `TENANT_QUOTAS`. */
  readonly quotas?: (tenant: string) => TenantQuotas;
  /**
   * Tasks of one tenant and kind on the queue at a time, the same in every process: more than all workers of a kind, or one
   * who is alone cannot use them.
   */
  readonly windowTasks?: number;
  /** In place of every kind's own: how long a silent worker keeps its task. */
  readonly ackWaitMs?: number;
  /** Blobs that something other than a job keeps from `gc`: the same in every process that shares the blobs. */
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

export interface JobResult {
  readonly digest: BlobDigest;
  readonly bytes: number;
  readonly references: readonly BlobDigest[];
  readonly provenance: { readonly [name: string]: Json };
}

/** Where nobody asks who calls. */
const EVERYBODY: Caller = { tenant: '', role: 'admin' };
const UNASKED: Callers = { current: () => EVERYBODY, run: (_caller, body) => body() };

const KIND = /^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/;

/** Jobs, for handlers: submits, tells, watches; and, between `start` and `stop`, works on those of its kinds. */
export class JobRuntime {
  private readonly options: JobRuntimeOptions;
  private readonly kinds = new Map<string, Registered>();
  private readonly actors: JobActors;
  private readonly callers: Callers;
  private readonly tracing: Tracing;
  private readonly index: JobIndex;
  private readonly directory: JobDirectory;
  private readonly quotas: Quotas;
  private readonly meters: JobMeters;
  private readonly progress = new ProgressBook();
  private readonly reconciler: Reconciler;
  private readonly workers: Workers;
  private readonly newName: () => string;
  private readonly spread: (ms: number) => number;
  private readonly running = new AbortController();
  private background: readonly Promise<void>[] = [];

  constructor(options: JobRuntimeOptions) {
    const { journal, queue, blobs, clock, events, metrics } = options;
    const log = options.log.child({ part: 'jobs' });
    this.options = options;
    this.newName = options.newName ?? randomUUID;
    this.meters = new JobMeters(metrics);
    const { meters } = this;
    const windowTasks = options.windowTasks ?? JOB_LIMITS.windowTasks;
    assert(windowTasks >= 2, () => `a window of ${windowTasks}`);
    this.actors = new JobActors({ journal, queue, blobs, clock, log, meters, windowTasks });
    const { actors } = this;
    this.callers = options.callers ?? UNASKED;
    this.index = new JobIndex({ actors, journal, clock, log });
    const { index, callers } = this;
    this.directory = new JobDirectory({ actors, index, maySee: (tenant) => this.maySee(tenant) });
    actors.observe((state) => index.observe(state));
    this.quotas = new Quotas({ index, meters, of: options.quotas ?? (() => TENANT_QUOTAS) });
    const kinds = (): readonly string[] => [...this.kinds.keys()];
    const worker = this.newName();
    this.spread = spreader(worker);
    const { lanes } = actors;
    const { spread } = this;
    this.reconciler = new Reconciler({ index, lanes, queue, clock, log, meters, kinds, spread });
    const versions = options.versions ?? {};
    const onStuck = options.onStuck ?? (() => undefined);
    this.tracing = options.tracing ?? NO_TRACING;
    const { tracing } = this;
    const ports = {
      actors,
      blobs: new SizedBlobs(blobs),
      clock,
      events,
      log,
      meters,
      versions,
      onStuck,
      callers,
      tracing,
    };
    this.workers = new Workers({ ports, queue, worker });
  }

  /** Before `start`. */
  register(kind: JobKind): void {
    assert(KIND.test(kind.kind), () => `'${kind.kind}' is no kind of job: <domain>.<verb>`);
    assert(!this.kinds.has(kind.kind), () => `${kind.kind} is registered twice`);
    assert(this.background.length === 0, () => `${kind.kind} is registered after the start`);
    const { ackWaitMs } = this.options;
    const all = ackWaitMs === undefined ? {} : { ackWaitMs };
    this.kinds.set(kind.kind, { kind, limits: { ...KIND_DEFAULTS, ...kind.limits, ...all } });
  }

  /** Takes up what was left unfinished, then works. */
  async start(): Promise<void> {
    assert(this.background.length === 0, 'started twice');
    const { signal } = this.running;
    this.meters.open([...this.kinds.keys()]);
    this.background = [
      this.progress.listen(this.options.events, signal),
      this.reconciler.repeat(signal),
      this.actors.lanes.repeat(signal),
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
    const keyBytes = Buffer.byteLength(key);
    if (keyBytes > JOB_LIMITS.keyBytesMax) {
      throw invalidArgument(
        `a client key has at most ${JOB_LIMITS.keyBytesMax} bytes, not ${keyBytes}`,
        { field: 'client_key', details: { bytes: keyBytes, bytesMax: JOB_LIMITS.keyBytesMax } },
      );
    }
    const { tenant } = this.callers.current();
    const id = jobId({ tenant, kind, key });
    const plain = JSON.parse(canonicalJson(request)) as Json; // what the journal will give back
    const known = await this.actors.look(id);
    const isNew = known.status === 'absent';
    const isSame = !isNew && registered.kind.sameRequest?.(known.request, plain) === true;
    // Forgotten, and whoever collects it is between its end and its removal, or died there.
    if (isNew && known.sequence > 0) await this.actors.remove(id);
    if (isNew) {
      const budgets = [options.budget ?? {}, this.options.budgetMax ?? {}];
      await admit(registered, plain, { budgets, queue: this.options.queue, meters: this.meters });
    }
    const pieces = await splitTasks(registered.kind, plain);
    const reduce = registered.kind.reduce !== undefined || pieces.length > 1;
    const tasks = pieces.length + (reduce ? 1 : 0);
    const accepted = isNew ? await this.quotas.reserve({ tenant, kind, tasks }) : () => undefined;
    const span = acceptSpan(isNew ? this.tracing : NO_TRACING, { id, kind, tasks });
    const trace = span.context?.traceparent;
    const message: JobMessage = {
      type: 'submit',
      tenant,
      kind,
      key,
      request: isSame ? known.request : plain,
      pinned: options.pinned ?? false,
      attemptsMax: registered.limits.attemptsMax,
      tasks: pieces,
      reduce,
      ...(trace === undefined ? {} : { trace }),
      nowMs: this.options.clock.now(),
    };
    try {
      return await inSpan(span, () => this.tell(id, message));
    } finally {
      accepted();
    }
  }

  async get(id: string): Promise<JobView> {
    return this.view(await this.known(id));
  }

  /**
   * The job of an id, or of its beginning where that means one job. Errors: `not_found`; `invalid_argument` for the beginning
   * of several.
   */
  async find(beginning: string): Promise<JobView> {
    try {
      return await this.get(beginning);
    } catch (thrown) {
      if (OperationError.from(thrown).code !== 'not_found') throw thrown;
      const id = await this.directory.only(beginning);
      if (id === undefined) throw thrown;
      return this.get(id);
    }
  }

  /** Newest first. Reads only what it gives. Errors: `permission_denied` for another tenant's; `invalid_argument`. */
  async list(
    options: ListOptions = {},
  ): Promise<{ readonly jobs: readonly JobView[]; readonly next?: string }> {
    const { states, more } = await this.directory.page(options);
    const jobs = states.map((state) => this.view(state));
    const last = states.at(-1);
    return more && last !== undefined ? { jobs, next: last.id } : { jobs };
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

  /**
   * Frees what no pinned and no unfinished job needs, of all services; or only what is past the budgets, of the kinds that run
   * here, whose budgets are known. Says what. Errors: `permission_denied` below `admin`; `data_loss` for a journal that cannot be read.
   */
  async gc(options: GcOptions = {}): Promise<GcReport> {
    if (this.callers.current().role !== 'admin') {
      const message = 'only an admin may free what is everybody’s';
      throw new OperationError({ code: 'permission_denied', message });
    }
    const { journal, blobs, clock, log, roots, quotas } = this.options;
    const kept = (await roots?.()) ?? [];
    const retainedBytesMax = (kind: string): number =>
      this.kinds.get(kind)?.limits.retainedBytesMax ?? Number.POSITIVE_INFINITY;
    const { actors, index } = this;
    return collect({
      ...options,
      ...{ actors, index, journal, blobs, clock, log, retainedBytesMax },
      roots: kept,
      collects: (kind) => options.withinBudgets !== true || this.kinds.has(kind),
      tenantBytesMax: (tenant) => (quotas?.(tenant) ?? TENANT_QUOTAS).retainedBytesMax,
    });
  }

  private async collectRepeatedly(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options;
    while (!signal.aborted) {
      await clock.sleep(this.spread(JOB_LIMITS.collectEveryMs), signal);
      if (signal.aborted) return;
      try {
        const { freedBytes, jobs } = await this.gc({ withinBudgets: true });
        if (freedBytes > 0) log.info('freed what is past its budget', { freedBytes, jobs });
      } catch (error) {
        log.error('what is past its budget could not be freed', { error });
      }
    }
  }

  private maySee(tenant: string): boolean {
    const caller = this.callers.current();
    return caller.role === 'admin' || caller.tenant === tenant;
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
    // Another tenant's is not even said to be there.
    if (state.status === 'absent' || !this.maySee(ownerOf(state))) throw notFound(`no job ${id}`);
    return state;
  }

  private view(state: JobState): JobView {
    return viewOf(state, isSettled(state.status) ? undefined : this.progress.of(state.id));
  }
}

/** Shortens a pause by up to a fifth, other for each process and the same again for one seed. */
function spreader(name: string): (ms: number) => number {
  let seed = 0;
  for (const char of name) seed = (seed * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  const rng = new Rng(seed);
  return (ms) => ms * (1 - 0.2 * rng.uniform());
}
