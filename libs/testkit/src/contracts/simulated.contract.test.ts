import { MemoryBlobs } from '../simulated/memory-blobs.ts';
import { MemoryJournal } from '../simulated/memory-journal.ts';
import { MemoryQueue } from '../simulated/memory-queue.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { blobsContract } from './blobs-contract.ts';
import { journalContract } from './journal-contract.ts';
import { queueContract } from './queue-contract.ts';

const close = async (): Promise<void> => undefined;

// A simulation over stores that keep another contract than the real ones would prove nothing.
journalContract('simulated journal', async () => ({
  journal: new MemoryJournal({ clock: new VirtualClock() }),
  close,
}));

queueContract('simulated queue', async (messagesMax) => {
  const clock = new VirtualClock();
  const queue = new MemoryQueue({ clock, messagesMax });
  return { queue, pass: (ms) => clock.advance(ms), close };
});

blobsContract('simulated blobs', async () => ({
  blobs: new MemoryBlobs(new VirtualClock()),
  close,
}));
