import { present } from '@heddle/core';
import type { Blobs, Clock, Journal, JournalEvent, Log, WorkQueue } from '@heddle/ports';
import { ActorHost, type Decided } from '../host/actor-host.ts';
import { type CommittedEffect, jobBehaviour } from '../job/behaviour.ts';
import { effectsOf, type PushTask } from '../job/effects.ts';
import type { JobEvent } from '../job/events.ts';
import type { JobMessage, JobReply } from '../job/messages.ts';
import { isSettled, type JobState, ownerOf } from '../job/state.ts';
import { Lanes } from './lanes.ts';
import { Listeners } from './listeners.ts';
import type { JobMeters } from './metrics.ts';

export interface JobActorsOptions {
  readonly journal: Journal;
  readonly queue: WorkQueue;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly meters: JobMeters;
  /** Tasks of one tenant and kind on the queue at a time. */
  readonly windowTasks: number;
}

export interface Told {
  readonly state: JobState;
  readonly reply: JobReply;
}

/** Jobs as actors, with their effects done: append first, then queue and blobs; what gets lost there comes again. */
export class JobActors {
  private readonly options: JobActorsOptions;
  private readonly host: ActorHost<JobState, JobEvent, JobMessage, CommittedEffect>;
  private readonly listeners = new Listeners<[JobState]>();
  /** Who hears of every decision made here. */
  private onDecision: (state: JobState) => void = () => undefined;
  readonly lanes: Lanes;

  constructor(options: JobActorsOptions) {
    this.options = options;
    const { journal, queue, clock, log, meters, windowTasks } = options;
    const look = (job: string): Promise<JobState> => this.look(job);
    this.lanes = new Lanes({ queue, clock, log, meters, windowTasks, look });
    this.host = new ActorHost(jobBehaviour, {
      journal,
      clock,
      onLostRace: (_, { type }) => meters.event('jobs_appends_fenced_total', { message: type }),
      onFall: (job, error) => {
        meters.event('jobs_actor_falls_total');
        log.error('a job broke an invariant and is folded from the journal again', { job, error });
      },
    });
  }

  /** Decides, commits, does. Errors: the journal's; a refusal is a reply. */
  async tell(job: string, message: JobMessage): Promise<Told> {
    const decided = await this.host.tell(job, message);
    this.listeners.tell(job, decided.state);
    this.onDecision(decided.state);
    this.record(decided);
    const effects = decided.effects.filter((effect) => effect.type !== 'reply');
    const pushes = decided.retried ? effectsOf(decided.state) : effects.filter(isPush);
    await this.lanes.offer(ownerOf(decided.state), pushes);
    for (const effect of effects) if (effect.type === 'discard') await this.discard(effect.blob);
    const answer = decided.effects.find((effect) => effect.type === 'reply');
    return { state: decided.state, reply: present(answer, 'reply').reply };
  }

  look(job: string): Promise<JobState> {
    return this.host.look(job);
  }

  /** The same, kept in memory only if it was. */
  peek(job: string): Promise<JobState> {
    return this.host.peek(job);
  }

  /** The state as last seen here. */
  seen(job: string): JobState | undefined {
    return this.host.seen(job);
  }

  forget(job: string): void {
    this.host.forget(job);
  }

  /** Removes the journal of a job that was forgotten; one that began again since, however alike, is another. */
  async remove(job: string): Promise<void> {
    const isEnd = ({ bytes }: JournalEvent): boolean =>
      jobBehaviour.decode(bytes).type === 'forgotten';
    await this.options.journal.remove(jobBehaviour.stream(job), isEnd);
    this.host.forget(job);
  }

  /** Removes the journal of a job that ended so, where there is no room to say so first. */
  async removeAsIs({ id, sequence, updatedMs }: JobState): Promise<void> {
    const isSame = (last: JournalEvent): boolean =>
      last.sequence === sequence && jobBehaviour.decode(last.bytes).timeMs === updatedMs;
    await this.options.journal.remove(jobBehaviour.stream(id), isSame);
    this.host.forget(id);
  }

  observe(onDecision: (state: JobState) => void): void {
    this.onDecision = onDecision;
  }

  /** Hears of decisions made in this process; those of others show in the journal. */
  onChange(job: string, listener: (state: JobState) => void): () => void {
    return this.listeners.add(job, listener);
  }

  private async discard(blob: Parameters<Blobs['remove']>[0]): Promise<void> {
    try {
      await this.options.blobs.remove(blob);
    } catch (error) {
      this.options.meters.event('jobs_effects_lost_total');
      this.options.log.warn('a checkpoint could not be removed; gc will', { blob, error });
    }
  }

  /** Counts what was decided, and logs how each job begins and ends. */
  private record({ before, state, events }: Decided<JobState, JobEvent, CommittedEffect>): void {
    const { meters, log } = this.options;
    const { id: job, kind } = state;
    for (const event of events) {
      if (event.type === 'submitted') {
        meters.count('jobs_submitted_total', kind);
        log.info('job accepted', { job, kind });
      }
      if (event.type === 'checkpointed') {
        meters.count('jobs_checkpoint_bytes_total', state.kind, {}, event.bytes);
      }
      if (event.type === 'checkpoint-lost') {
        meters.count('jobs_checkpoints_lost_total', state.kind);
      }
    }
    if (isSettled(state.status) && !isSettled(before.status)) {
      const outcome = { outcome: state.status };
      meters.count('jobs_settled_total', state.kind, outcome);
      const seconds = Math.max(0, state.updatedMs - state.createdMs) / 1000;
      meters.observe('jobs_duration_seconds', state.kind, seconds, outcome);
      log.info('job ended', { job, kind, ...outcome, seconds });
    }
  }
}

function isPush(effect: CommittedEffect): effect is PushTask {
  return effect.type === 'push';
}
