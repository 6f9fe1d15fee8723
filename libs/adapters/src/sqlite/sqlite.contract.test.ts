import { join } from 'node:path';
import { journalContract, queueContract, temporaryFolder, VirtualClock } from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { openSqlite } from './index.ts';

journalContract('SQLite journal', async () => {
  const folder = await temporaryFolder();
  const file = openSqlite(join(folder.path, 'heddle.sqlite'), { clock: systemClock });
  const close = async (): Promise<void> => {
    await file.close();
    await folder.remove();
  };
  return { journal: file.journal, close };
});

queueContract('SQLite queue', async (messagesMax) => {
  const folder = await temporaryFolder();
  const clock = new VirtualClock();
  const file = openSqlite(join(folder.path, 'heddle.sqlite'), { clock, messagesMax });
  const close = async (): Promise<void> => {
    await file.close();
    await folder.remove();
  };
  return { queue: file.queue, pass: (ms) => clock.advance(ms), close };
});
