// Writes to a disk that soon takes no more, and says what it was told. Arguments: folder, `blobs` or `all`.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@heddle/adapters/clock';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { openSqlite } from '@heddle/adapters/sqlite';
import { OperationError } from '@heddle/core';

const [folder = '', what = ''] = process.argv.slice(2);
const say = (line: string): boolean => process.stdout.write(`${line}\n`);
const codeOf = async (body: Promise<unknown>): Promise<string> =>
  body.then(
    () => 'done',
    (error) => OperationError.from(error).code,
  );

const blobs = await DirectoryBlobs.open(join(folder, 'blobs'));
const garbage = what === 'all' ? await blobs.put(new Uint8Array(200_000)) : undefined;
await blobs.put(new Uint8Array(1_000));
say('small kept');
say(`large refused: ${await codeOf(blobs.put(new Uint8Array(2_000_000)))}`);
let large = 0;
for await (const { bytes } of blobs.list()) large += bytes > 200_000 ? 1 : 0;
say(`large left ${large}, tmp ${(await readdir(join(folder, 'blobs', 'tmp'))).length}`);

if (what === 'all') {
  const { journal, close } = openSqlite(join(folder, 'heddle.sqlite'), { clock: systemClock });
  let last = 0;
  let refused = 'done';
  for (let i = 0; i < 1_000 && refused === 'done'; i++) {
    refused = await codeOf(
      journal.append('job.a', last, [new Uint8Array(10_000)]).then((sequence) => {
        last = sequence;
      }),
    );
  }
  const events = (await journal.read('job.a')).length;
  say(`append refused: ${refused}, ${events === last ? 'all' : 'not all'} acknowledged are there`);
  // What gc does: garbage needs no room to go, and makes the room that the journal needs.
  if (garbage !== undefined) await blobs.remove(garbage.digest);
  await journal.remove('job.a');
  say(`after removal: ${await codeOf(journal.append('job.b', 0, [new Uint8Array(10_000)]))}`);
  await close();
}
