// One of several processes at the same SQLite file. Prints what it was told is done:
//   appended STREAM_SEQUENCE    worked KEY
// Arguments: file, name, number of appends (0: until killed).

import { systemClock } from '@heddle/adapters/clock';
import { openSqlite } from '@heddle/adapters/sqlite';
import { OperationError } from '@heddle/core';

const [path = '', name = '', count = '0'] = process.argv.slice(2);
const { journal, queue, close } = openSqlite(path, { clock: systemClock });
const utf8 = new TextEncoder();
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

for (let i = 0; count === '0' || i < Number(count); i++) {
  await append(`${name} ${i}`);
  await queue.push('tasks.a', `${name}.${i}`, utf8.encode(name));
  const delivery = await queue.pull('tasks.a', { ackWaitMs: 60_000, attemptsMax: 9, waitMs: 0 });
  if (delivery === undefined) continue;
  await delivery.ack();
  say(`worked ${delivery.key}`);
}
await close();

/** As an actor does: fold, append after what was folded, and when another was faster again. */
async function append(text: string): Promise<void> {
  for (;;) {
    const expected = (await journal.read('job.shared')).length;
    try {
      say(`appended ${await journal.append('job.shared', expected, [utf8.encode(text)])} ${text}`);
      return;
    } catch (error) {
      if (OperationError.from(error).code !== 'aborted') throw error;
    }
  }
}
