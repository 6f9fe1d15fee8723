import type { Json } from '@heddle/core';
import type { BlobDigest } from '@heddle/ports';
import type { JobError, KeptBlob, KeptOutput, SplitTask } from './events.ts';

interface Now {
  readonly nowMs: number;
}

/** Names one attempt; see `Started`. Repeating a message under its claim changes nothing and gets the same reply. */
interface Claimed extends Now {
  readonly task: number;
  readonly claim: string;
}

/** Everything that a job's actor understands. */
export type JobMessage =
  | (Now & {
      readonly type: 'submit';
      readonly tenant: string;
      readonly kind: string;
      readonly key: string;
      readonly request: Json;
      readonly pinned: boolean;
      readonly attemptsMax: number;
      readonly trace?: string;
      readonly tasks: readonly SplitTask[];
      readonly reduce: boolean;
    })
  /** A queue message reached a worker: may it start? `sequence` is the message's (see `TaskState.readySequence`). */
  | (Claimed & { readonly type: 'start'; readonly sequence: number })
  | (Claimed & KeptBlob & { readonly type: 'checkpoint'; readonly cursor: number })
  /** The newest checkpoint, this blob, cannot be read whole. */
  | (Claimed & {
      readonly type: 'lose-checkpoint';
      readonly blob: BlobDigest;
      readonly reason: string;
    })
  | (Claimed & { readonly type: 'release' })
  | (Claimed & { readonly type: 'fail'; readonly error: JobError })
  | (Claimed & KeptOutput & { readonly type: 'done' })
  | (Now & { readonly type: 'pause' | 'resume' | 'cancel' })
  | (Now & { readonly type: 'pin'; readonly pinned: boolean })
  /** Somebody uses its result again: it counts as new to whoever frees what is past a budget. */
  | (Now & { readonly type: 'touch' })
  /** Nobody needs it any more, as of this sequence; whoever appended since does. */
  | (Now & { readonly type: 'forget'; readonly sequence: number });

/** What the sender of a message learns. */
export type JobReply =
  | { readonly type: 'done' }
  /** Start; the task is yours under your claim. */
  | { readonly type: 'granted'; readonly attempt: number }
  /** Nothing to do for this message, ever: acknowledge it. */
  | { readonly type: 'drop' }
  /** Too early: hand it back for so long. */
  | { readonly type: 'later'; readonly delayMs: number }
  | { readonly type: 'refuse'; readonly error: JobError };
