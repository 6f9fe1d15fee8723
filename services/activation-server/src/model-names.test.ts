import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { MemoryJournal } from '@heddle/testkit/simulated/memory-journal';
import { ModelNames, type NamedModel } from './model-names.ts';

/** As the first landing wrote them; folded for ever. */
const V1 = [
  '{"v":1,"type":"named","name":"a","path":"/models/a","digest":"11","importedMs":5}',
  '{"v":1,"type":"named","name":"b","path":"/models/b","digest":"22","importedMs":6}',
  '{"v":1,"type":"removed","name":"a"}',
];
/** As this version writes them; folded for ever. */
const V2 =
  '{"v":2,"type":"named","name":"c","path":"content:sha256:33","digest":"44","importedMs":7,"import":{"content":"content:sha256:33","source":"hf:o/m@55","asked":"hf:o/m","job":"activation-import-6","info":{"family":"gpt2"}}}';

const STREAM = 'activation.models';
const C: NamedModel = {
  name: 'c',
  path: 'content:sha256:33',
  digest: '44',
  importedMs: 7,
  import: {
    content: 'content:sha256:33',
    source: 'hf:o/m@55',
    asked: 'hf:o/m',
    job: 'activation-import-6',
    info: { family: 'gpt2' },
  },
};

async function journalOf(events: readonly string[]): Promise<MemoryJournal> {
  const journal = new MemoryJournal({ clock: systemClock });
  const bytes = events.map((event) => new TextEncoder().encode(event));
  await journal.append(STREAM, 0, bytes);
  return journal;
}

test('names of the first version and of this one fold, in one stream', async () => {
  const names = await new ModelNames(await journalOf([...V1, V2])).all();

  assert.deepEqual([...names.keys()], ['b', 'c']);
  assert.deepEqual(names.get('b'), { name: 'b', path: '/models/b', digest: '22', importedMs: 6 });
  assert.deepEqual(names.get('c'), C);
});

test('a folder is still named as the first version names it, so that older replicas read it; a content is not', async () => {
  const journal = await journalOf(V1.slice(0, 1));
  const names = new ModelNames(journal);
  await names.add({ name: 'b', path: '/models/b', digest: '22', importedMs: 6 });
  await names.add(C);

  const written = (await journal.read(STREAM)).map(({ bytes }) => new TextDecoder().decode(bytes));
  assert.deepEqual(written, [V1[0], V1[1], V2]);
});

test('a name that is another model’s is refused with what it is; removing says what it was', async () => {
  const names = new ModelNames(await journalOf([V2]));

  assert.deepEqual(await names.add(C), C);
  const other = { ...C, path: 'content:sha256:99', digest: '77' };
  await assert.rejects(names.add(other), {
    code: 'already_exists',
    message: /is hf:o\/m@55 already/,
  });
  assert.deepEqual(await names.remove('c'), C);
  assert.equal(await names.remove('c'), undefined);
});

test('an event of a later version is told with its number, and is no mistake of ours', async () => {
  const later = '{"v":3,"type":"renamed","name":"a","to":"b"}';
  const names = new ModelNames(await journalOf([...V1, later]));

  await assert.rejects(names.all(), {
    code: 'failed_precondition',
    message: /version 3, .* run the newer one/,
  });
});
