/** Every number that bounds a job, and the accident it prevents. */
export const JOB_LIMITS = {
  /** Tasks of one job: its state holds each, and an append copies the list. */
  tasksMax: 4096,
  /** One journal event; JetStream takes 1 MiB in a message. Bulk belongs in a blob. */
  eventBytesMax: 512 * 1024,
  /** A client's key goes into the journal with every job; as the contracts say. */
  keyBytesMax: 128,
  /** Tasks of one tenant and kind on the queue at a time: a newcomer waits for so many of each other tenant. */
  windowTasks: 64,
  /** One of so many of these is for first tasks of jobs: a large one does not keep the small one out until it has ended. */
  windowPerFirst: 8,
  /** Tasks of one job that are looked at together: no window is larger. */
  effectsMax: 256,
  /** What is known of a tenant's tasks on the queue is asked for again when it is older than this. */
  laneFreshMs: 1_000,
  /** While tasks are held back, whether some left is looked at so often; doubles to the maximum while none do. */
  laneRetryMs: 100,
  laneRetryMaxMs: 1_000,
  /** Tenants and kinds whose tasks are counted at a time; more are asked for anew. */
  lanesMax: 1_000,
  /** Commands waiting for one actor; each is a caller waiting, so more is overload. */
  mailboxMax: 1000,
  /** Lost races for one decision: each is another replica's success, so 64 in a row is a broken journal. */
  conflictsMax: 64,
  /** Tries of an append whose outcome is unknown (time-out after doing it). */
  unknownOutcomesMax: 4,
  unknownOutcomeDelayMs: 50,
  /** First retry of a failed task; doubles to the maximum. No jitter: the queue hands tasks out one by one anyway. */
  backoffBaseMs: 1_000,
  backoffMaxMs: 60_000,
  /** Deliveries of one queue message. A backstop far above a kind's attempts: the journal counts those. */
  deliveriesMax: 50,
  /** Waiting for work in one pull; bounds how long a stop waits for an idle worker that ignores its signal. */
  pullWaitMs: 15_000,
  /** Nak delay when the journal could not be reached: long enough not to spin, short enough for a restart. */
  journalDownDelayMs: 2_000,
  /**
   * A task that comes again and again is in slow hands rather than dead ones: whoever gets it then leaves them an ack wait,
   * doubled each time up to this. A kind whose ack wait is longer has left them enough.
   */
  slowHandsMs: 15_000,
  /**
   * Attempts are parts of the trace in which their job was accepted while the job has at most so many tasks and is no older than
   * this: receivers refuse a trace of thousands of spans, and have closed one of yesterday. The rest begin traces of their own, with a link.
   */
  tracedTasksMax: 64,
  tracedMs: 3_600_000,
  /** How often a running task looks whether it was cancelled or paused by another process: the stated bound. */
  stopCheckMs: 1_000,
  /** A running task goes on telling the queue that it lives while a look at the journal takes at most so long: an election, and the tries of it. */
  lookPatienceMs: 20_000,
  /** A task that was told to stop and computes on this long after hangs in native code: only its process's end frees it. */
  stuckAfterMs: 300_000,
  /** What a lost effect can delay a job by (a crash between append and enqueue); up to a fifth sooner, so that replicas spread. */
  reconcileEveryMs: 10_000,
  /** Jobs of kinds that only other processes run are helped when nothing happened to them for so long. */
  foreignAfterMs: 120_000,
  /** Lengths of blobs remembered, some 150 bytes each: more than one result names. */
  blobSizesMax: 20_000,
  /** Journals read at a time by whoever reads all of them. */
  readsAtOnce: 16,
  /** What is past its kind's budget is freed by itself so often. */
  collectEveryMs: 3_600_000,
  /** Unreferenced blobs younger than this may be about to be committed. */
  blobGraceMs: 15 * 60_000,
  /** Progress for people: faster than the eye reads is a waste of the bus … */
  progressEveryMs: 250,
  /** … and of a task that takes its time, a second will do: each one wakes every process of a cluster. */
  progressQuickMs: 10_000,
  progressSlowMs: 1_000,
  /** Settled jobs whose journals are kept: some 2 kB each, and every reconciler pass lists their names. */
  retainedJobsMax: 5_000,
  /** Folded states and progress kept in memory (passivation); a state of one task is about 2 kB. */
  actorsCachedMax: 512,
  /** Shorter beginnings of an id are slips. */
  beginningCharsMin: 4,
  /** Jobs of one answer of `list`. */
  listMax: 200,
  /** Retry delay told to a client that found the queue full. */
  queueFullRetryMs: 5_000,
  /** How old the counts may be that a quota is compared with: what other replicas accept meanwhile comes on top. */
  quotaFreshMs: 1_000,
  /** Retry delay of a tenant past a quota: some of its jobs must end first. */
  quotaRetryMs: 10_000,
  /** The same where only the hourly collection, or an admin's, makes room. */
  quotaFreedMs: 300_000,
} as const;

/** What a tenant may have that nobody configured otherwise. */
export const TENANT_QUOTAS = {
  /** Jobs that have not ended; one process reads the journals of all of them. */
  jobsMax: 1_000,
  /** Tasks of these that are not done: each is held in memory by the processes that run its kind. */
  tasksMax: 100_000,
  /** Results, checkpoints and what they name; the budgets of kinds and of the store are usually met first. */
  retainedBytesMax: 2 ** 40,
} as const;

/** What a kind gets that says nothing. */
export const KIND_DEFAULTS = {
  concurrency: 1,
  attemptsMax: 5,
  /** Survives a garbage collection and a slow disk; half a minute until another process takes over. */
  ackWaitMs: 30_000,
  /** 64 tasks of some ten jobs: at a few seconds each, more than half an hour of waiting is better refused. */
  queuedMax: 1_000,
  retainedBytesMax: 4 * 2 ** 30,
} as const;
