import type { Behaviour } from '../host/actor-host.ts';
import { decodeEvent, encodeEvent } from './codec.ts';
import type { JobEffect } from './effects.ts';
import type { JobEvent } from './events.ts';
import type { JobMessage } from './messages.ts';
import { fold, initialState, type JobState } from './state.ts';
import { transition } from './transition.ts';

export const JOB_STREAMS = 'job.';

/** What remains of a decision once its append is committed. */
export type CommittedEffect = Exclude<JobEffect, { readonly type: 'append' }>;

/** The job as the actor host runs it. */
export const jobBehaviour: Behaviour<JobState, JobEvent, JobMessage, CommittedEffect> = {
  initial: initialState,
  sequence: (state) => state.sequence,
  fold,
  transition,
  encode: encodeEvent,
  decode: decodeEvent,
  stream: (id) => `${JOB_STREAMS}${id}`,
};
