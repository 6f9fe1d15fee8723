import type { Rng } from '@heddle/core';
import { MemoryBlobs, MemoryJournal, MemoryQueue, type VirtualClock } from '@heddle/testkit';

/** What outlives every replica. */
export interface Stores {
  readonly journal: MemoryJournal;
  readonly queue: MemoryQueue;
  readonly blobs: MemoryBlobs;
}

export function openStores(clock: VirtualClock, rng: Rng, fence: boolean): Stores {
  return {
    journal: new MemoryJournal({ clock, fence }),
    queue: new MemoryQueue({ clock, disorder: rng }),
    blobs: new MemoryBlobs(clock),
  };
}
