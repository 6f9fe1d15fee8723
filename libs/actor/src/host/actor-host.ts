import { AssertionError, assert, OperationError } from '@heddle/core';
import type { Clock, Journal, JournalEvent } from '@heddle/ports';
import { JOB_LIMITS } from '../limits.ts';
import { Mailbox } from './mailbox.ts';

/** The append that a decision may begin with; everything else of it waits for the commit. */
export interface Append<Event> {
  readonly type: 'append';
  readonly events: readonly Event[];
}

/** An actor as three pure functions and a codec. */
export interface Behaviour<State, Event, Message, Effect extends { readonly type: string }> {
  initial(id: string): State;
  sequence(state: State): number;
  fold(state: State, event: Event): State;
  transition(state: State, message: Message): readonly [State, readonly (Append<Event> | Effect)[]];
  encode(event: Event): Uint8Array;
  decode(bytes: Uint8Array): Event;
  /** The journal's stream of an actor. */
  stream(id: string): string;
}

export interface Decided<State, Event, Effect> {
  readonly before: State;
  readonly state: State;
  /** What this decision appended; empty when it changed nothing. */
  readonly events: readonly Event[];
  readonly effects: readonly Effect[];
  /** An earlier try may have been committed unseen: what it asked for may not have been done. */
  readonly retried: boolean;
}

interface Actor<State> {
  readonly mailbox: Mailbox;
  state: State;
  /** Of the journal that the state was folded from. */
  life: number | undefined;
  /** An append was refused: if nothing new explains it, this memory is of a journal that is no more. */
  suspect: boolean;
}

export interface ActorHostOptions<Message = never> {
  readonly journal: Journal;
  readonly clock: Clock;
  /** Another replica was faster: what was decided is decided again. */
  readonly onLostRace?: (id: string, message: Message) => void;
  /** An actor fell over its own assertion and was forgotten; the next message folds it from the journal. */
  readonly onFall?: (id: string, error: AssertionError) => void;
}

/**
 * Runs actors that have no home: it folds what is new in the journal, decides, appends after the sequence that it
 * folded, and when another replica was faster folds and decides again. The memory of an actor is only a cache
 * (passivation: the least recently told is dropped).
 */
export class ActorHost<State, Event, Message, Effect extends { readonly type: string }> {
  private readonly behaviour: Behaviour<State, Event, Message, Effect>;
  private readonly options: ActorHostOptions<Message>;
  private readonly actors = new Map<string, Actor<State>>();

  constructor(
    behaviour: Behaviour<State, Event, Message, Effect>,
    options: ActorHostOptions<Message>,
  ) {
    this.behaviour = behaviour;
    this.options = options;
  }

  /**
   * One decision, committed. Messages must be idempotent: after an append of unknown outcome they are decided again.
   * Errors: `aborted` after too many lost races; the journal's own.
   */
  tell(id: string, message: Message): Promise<Decided<State, Event, Effect>> {
    const actor = this.actor(id);
    return actor.mailbox.post(() => this.decide(id, actor, message));
  }

  /** The state as of the journal now. */
  look(id: string): Promise<State> {
    const actor = this.actor(id);
    return actor.mailbox.post(() => this.guard(id, actor, () => this.refresh(id, actor)));
  }

  /** The same without keeping it in memory: for those who look at all of them. */
  async peek(id: string): Promise<State> {
    if (this.actors.has(id)) return this.look(id);
    const { behaviour } = this;
    let state = behaviour.initial(id);
    const events = await this.options.journal.read(behaviour.stream(id));
    for (const { bytes } of events) state = behaviour.fold(state, behaviour.decode(bytes));
    return state;
  }

  /** The state as last seen here; may be old. */
  seen(id: string): State | undefined {
    return this.actors.get(id)?.state;
  }

  forget(id: string): void {
    this.actors.delete(id);
  }

  private async decide(
    id: string,
    actor: Actor<State>,
    message: Message,
  ): Promise<Decided<State, Event, Effect>> {
    let conflicts = 0;
    let unknowns = 0;
    for (;;) {
      try {
        const decided = await this.guard(id, actor, () => this.attempt(id, actor, message));
        return { ...decided, retried: unknowns > 0 };
      } catch (thrown) {
        const error = OperationError.from(thrown);
        if (error.code === 'aborted') {
          conflicts += 1;
          actor.suspect = true;
          this.options.onLostRace?.(id, message);
          if (conflicts >= JOB_LIMITS.conflictsMax) throw error;
          if (conflicts > 2) await this.options.clock.sleep(conflicts);
        } else if (error.code === 'unavailable' || error.code === 'deadline_exceeded') {
          unknowns += 1;
          if (unknowns >= JOB_LIMITS.unknownOutcomesMax) throw error;
          await this.options.clock.sleep(JOB_LIMITS.unknownOutcomeDelayMs * unknowns);
        } else throw error;
      }
    }
  }

  private async attempt(
    id: string,
    actor: Actor<State>,
    message: Message,
  ): Promise<Omit<Decided<State, Event, Effect>, 'retried'>> {
    const { behaviour } = this;
    const before = await this.refresh(id, actor);
    const [state, all] = behaviour.transition(before, message);
    const events = all.flatMap((effect) => (isAppend<Event>(effect) ? effect.events : []));
    const effects = all.filter((effect): effect is Effect => !isAppend(effect));
    if (events.length > 0) {
      const expected = behaviour.sequence(before);
      const encoded = events.map((event) => behaviour.encode(event));
      const last = await this.options.journal.append(
        behaviour.stream(id),
        expected,
        encoded,
        actor.life,
      );
      assert(last === expected + events.length, () => `append to ${id} ended at ${last}`);
      assert(behaviour.sequence(state) === last, () => `${id} decided another sequence`);
      actor.state = state;
    }
    return { before, state, events, effects };
  }

  private async refresh(id: string, actor: Actor<State>): Promise<State> {
    const { behaviour } = this;
    const fresh = await this.news(id, actor);
    for (const { sequence, life, bytes } of fresh) {
      actor.life = life;
      assert(
        sequence === behaviour.sequence(actor.state) + 1,
        () => `event ${sequence} of ${id} follows ${behaviour.sequence(actor.state)}`,
      );
      actor.state = behaviour.fold(actor.state, behaviour.decode(bytes));
    }
    return actor.state;
  }

  /** What the journal has that this memory lacks; the memory of a journal that was removed since is given up. */
  private async news(id: string, actor: Actor<State>): Promise<readonly JournalEvent[]> {
    const { behaviour, options } = this;
    const after = behaviour.sequence(actor.state);
    const stream = behaviour.stream(id);
    try {
      const fresh = await options.journal.read(stream, after);
      const [first] = fresh;
      const same = actor.life === undefined || first?.life === actor.life;
      const explained = first === undefined ? !actor.suspect : same;
      actor.suspect = false;
      if (after === 0 || explained) return fresh;
    } catch (thrown) {
      if (after === 0 || OperationError.from(thrown).code !== 'aborted') throw thrown;
    }
    actor.state = behaviour.initial(id);
    actor.life = undefined;
    return options.journal.read(stream);
  }

  /** Supervision: a broken invariant costs the memory of this actor, never the process. */
  private async guard<T>(id: string, actor: Actor<State>, body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (thrown) {
      if (thrown instanceof AssertionError) {
        actor.state = this.behaviour.initial(id);
        actor.life = undefined;
        this.options.onFall?.(id, thrown);
      }
      throw thrown;
    }
  }

  private actor(id: string): Actor<State> {
    const known = this.actors.get(id);
    if (known !== undefined) {
      this.actors.delete(id); // to the young end
      this.actors.set(id, known);
      return known;
    }
    const actor = {
      mailbox: new Mailbox(JOB_LIMITS.mailboxMax),
      state: this.behaviour.initial(id),
      life: undefined,
      suspect: false,
    };
    this.actors.set(id, actor);
    if (this.actors.size > JOB_LIMITS.actorsCachedMax) this.passivate();
    return actor;
  }

  private passivate(): void {
    for (const [id, actor] of this.actors) {
      if (this.actors.size <= JOB_LIMITS.actorsCachedMax) return;
      if (actor.mailbox.isEmpty) this.actors.delete(id);
    }
  }
}

function isAppend<Event>(effect: { readonly type: string }): effect is Append<Event> {
  return effect.type === 'append';
}
