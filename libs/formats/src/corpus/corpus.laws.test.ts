import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Rng } from '@heddle/core';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { type CorpusDocument, type CorpusFile, corpusFormat } from './corpus-file.ts';
import { indexCorpusFile } from './index-file.ts';
import { DOCUMENT_BYTES_MAX } from './limits.ts';
import { readDocuments } from './read-documents.ts';

/** A file in memory whose reads give at most so many bytes, so that every boundary falls everywhere. */
function fileOf(name: string, content: string | Uint8Array, portion = 1 << 20): CorpusFile {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const read = async (offset: number, length: number) => {
    const most = name.endsWith('.parquet') ? length : Math.min(length, portion);
    return bytes.slice(offset, offset + most);
  };
  return { name, format: corpusFormat(name), source: { bytes: bytes.length, read } };
}

async function documentsOf(file: CorpusFile, from = { at: 0, line: 1 }, end?: number) {
  const size = end ?? (await indexCorpusFile(file)).size;
  const documents: CorpusDocument[] = [];
  for await (const document of readDocuments(file, { from, end: size })) documents.push(document);
  return documents;
}

const texts = (documents: readonly CorpusDocument[]) => documents.map(({ text }) => text);

/** Words of one to four bytes a character, long and short lines, blank ones, all kinds of line ends. */
function wildText(rng: Rng): string {
  const words = [
    'a',
    'straße',
    '日本語',
    '🧵🪡',
    'x'.repeat(40),
    'y'.repeat(DOCUMENT_BYTES_MAX + 7),
  ];
  const ends = ['\n', '\r\n', ' ', ' ', ' ', '\n\n', '\r\n \t\r\n'];
  let text = rng.uniform() < 0.3 ? '\uFEFF' : '';
  for (let i = 0; i < 400; i++) {
    const rare = rng.uniform() < 0.02;
    text +=
      rng.pick(rare ? words : words.slice(0, 5)) + rng.pick(rng.uniform() < 0.2 ? ends : [' ']);
  }
  return text;
}

test('a text falls into the same documents wherever reading begins and however it is cut into reads', async () => {
  for (let seed = 0; seed < 8; seed++) {
    const text = wildText(new Rng(seed));
    const whole = await documentsOf(fileOf('a.txt', text));
    const slow = fileOf('a.txt', text, 7 + (seed % 5) * 301);
    assert.ok(isDeepStrictEqual(await documentsOf(slow), whole), `seed ${seed}`);
    for (const { at, line } of whole.filter((_, i) => i % 15 === 0)) {
      const before = await documentsOf(slow, { at: 0, line: 1 }, at);
      const after = await documentsOf(slow, { at, line });
      assert.ok(isDeepStrictEqual([...before, ...after], whole), `seed ${seed}, cut at ${at}`);
    }
    for (const { text: document = '' } of whole) {
      const bytes = new TextEncoder().encode(document).length;
      assert.ok(bytes > 0 && bytes <= DOCUMENT_BYTES_MAX, `${bytes} bytes`);
    }
    const squeeze = (s: string): string => s.replace(/\s+/g, '').replace('\uFEFF', '');
    assert.equal(squeeze(texts(whole).join('')), squeeze(text), 'nothing is lost');
  }
});

test('paragraphs are documents: blank lines part them, line ends become one kind, marks are no text', async () => {
  const file = fileOf('a.txt', '\uFEFFone\r\ntwo\r\n \t\r\n\r\n  three\n\n\nfour');
  const documents = await documentsOf(file);
  assert.deepEqual(texts(documents), ['one\ntwo', '  three', 'four']);
  assert.deepEqual(
    documents.map(({ line }) => line),
    [1, 5, 8],
  );
});

test('short paragraphs of a long text are joined, to the same documents from wherever one of them begins', async () => {
  const paragraphs = Array.from({ length: 5000 }, (_, i) => `${i} ${'word '.repeat(20)}end`);
  const file = fileOf('a.txt', paragraphs.join('\n\n'));
  const whole = await documentsOf(file);
  assert.equal(texts(whole).join('\n\n'), paragraphs.join('\n\n'));
  const bytes = file.source.bytes / 100;
  const middle = whole.slice(0, -1).map(({ text }) => text?.length ?? 0);
  assert.ok(middle.every((length) => length > 0.9 * bytes && length < bytes + 300));
  for (const at of [1, 17, 60]) {
    const begin = whole[at];
    assert.ok(begin);
    assert.deepEqual(texts(await documentsOf(file, begin)), texts(whole.slice(at)));
  }
});

test('a paragraph that is too long ends at a line, a line at white space, and a word between characters', async () => {
  const line = `${'w'.repeat(99)}\n`;
  const byLine = texts(await documentsOf(fileOf('a.txt', line.repeat(200))));
  assert.deepEqual(
    byLine.map((text) => text?.length),
    [163 * 100 - 1, 37 * 100 - 1],
  );
  const byWord = texts(await documentsOf(fileOf('a.txt', 'hello '.repeat(4000))));
  assert.ok(
    byWord.every((text) => /^hello .*hello ?$/s.test(text ?? '')),
    'no word is cut',
  );
  const byCharacter = texts(await documentsOf(fileOf('a.txt', '語'.repeat(10_000))));
  assert.equal(byCharacter.join(''), '語'.repeat(10_000));
});

test('jsonl gives texts and ids with their lines, and cuts a long text into documents of one place', async () => {
  const long = 'word '.repeat(5000);
  const lines = [
    '{"text":"a","n":1}',
    '',
    '{"tokens":[1,2,3]}',
    '{"text":null}',
    JSON.stringify({ text: long }),
  ];
  const documents = await documentsOf(fileOf('a.jsonl', lines.join('\r\n'), 3));
  assert.deepEqual(documents.slice(0, 2), [
    { at: 0, line: 1, text: 'a' },
    { at: 22, line: 3, tokens: [1, 2, 3] },
  ]);
  assert.equal(texts(documents.slice(2)).join(''), long);
  assert.equal(documents.length, 4);
  assert.ok(documents.slice(2).every(({ line, at }) => line === 5 && at === documents[2]?.at));
});

const table = (name: string, data: readonly unknown[], rowGroupSize: number) =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'id', data: data.map((_, i) => i) },
        { name, data: [...data] },
      ],
      rowGroupSize,
    }),
  );

test('parquet gives the rows of its text or tokens column, from any row, over row groups', async () => {
  const rows = Array.from({ length: 25 }, (_, i) => (i === 7 ? null : `text ${i} 語`));
  const file = fileOf('a.parquet', table('text', rows, 10));
  const whole = await documentsOf(file);
  assert.deepEqual(
    texts(whole),
    rows.filter((row) => row !== null),
  );
  const some = await documentsOf(file, { at: 9, line: 10 }, 12);
  assert.deepEqual(
    some.map(({ at, text }) => [at, text]),
    [
      [9, 'text 9 語'],
      [10, 'text 10 語'],
      [11, 'text 11 語'],
    ],
  );
  const ids = await documentsOf(fileOf('b.parquet', table('tokens', [[1, 2], [3]], 10)));
  assert.deepEqual(
    ids.map(({ tokens }) => tokens),
    [[1, 2], [3]],
  );
});

test('the held-out part of a file begins with a document, in the last tenth or at the last one', async () => {
  const paragraphs = (sizes: readonly number[]) =>
    sizes.map((size) => 'x'.repeat(size)).join('\n\n');
  const heldOut = async (text: string) => {
    const file = fileOf('a.txt', text);
    const { heldOut: from, size, documents } = await indexCorpusFile(file);
    return { held: (await documentsOf(file, from, size)).length, documents };
  };
  assert.deepEqual(await heldOut(paragraphs(Array.from({ length: 100 }, () => 50))), {
    held: 10,
    documents: 100,
  });
  assert.deepEqual(await heldOut(paragraphs([10, 1000])), { held: 1, documents: 2 });
  assert.deepEqual(await heldOut(paragraphs([1000])), { held: 0, documents: 1 });
  assert.deepEqual(await heldOut(''), { held: 0, documents: 0 });
  const { heldOut: row } = await indexCorpusFile(
    fileOf('a.parquet', table('text', Array.from({ length: 30 }, String), 7)),
  );
  assert.equal(row.at, 27);
});

test('marks begin documents, a bounded number of them over a file of any size', async () => {
  const text = Array.from({ length: 6000 }, (_, i) => `${i} ${'x'.repeat(90)}`).join('\n\n');
  const file = fileOf('a.txt', text);
  const { marks } = await indexCorpusFile(file);
  const starts = new Set((await documentsOf(file)).map(({ at }) => at));
  assert.ok(marks.length > 5 && marks.every(({ at }) => starts.has(at)));
  assert.equal(marks[0]?.at, 0);
});

test('what cannot be read is refused with the file and the byte, line, row or column', async () => {
  const refused = async (
    name: string,
    content: string | Uint8Array,
    words: RegExp,
    portion?: number,
  ) =>
    assert.rejects(
      documentsOf(fileOf(name, content, portion)),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'invalid_argument', error.message);
        assert.match(error.message, words);
        return true;
      },
    );
  const latin = Uint8Array.from([...new TextEncoder().encode('caf語'), 0xe9, 0x20, 0x61]);
  await refused('a.txt', latin, /a\.txt: byte 6 is no UTF-8/);
  await refused('a.txt', latin, /a\.txt: byte 6 is no UTF-8/, 1);
  await refused('a.txt', latin.slice(0, 5), /byte 3 is no UTF-8/, 2);
  await refused('a.txt', Uint8Array.from([0xff, 0xfe, 0x61, 0]), /UTF-16/);
  await refused('a.jsonl', '{"text":"a"}\n{"text":', /a\.jsonl line 2: not JSON/);
  await refused('a.jsonl', '{"text":"a"}\n\n{"prompt":"a"}', /line 3: neither "text"/);
  await refused('a.jsonl', '{"tokens":[1,-2]}', /line 1: "tokens"\[1\] is no id/);
  await refused('a.jsonl', `{"text":"${'x'.repeat(17 << 20)}"}`, /line 1: longer than/);
  await refused('a.parquet', 'PAR1 but no table', /a\.parquet: its footer cannot be read/);
  await refused('a.parquet', table('body', ['a'], 5), /no column text or tokens; it has id, body/);
  await refused('a.parquet', table('text', [1, 2], 5), /row 0: neither "text"/);
  const broken = table('text', ['some text', 'more text'], 5);
  broken.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 40);
  await refused('a.parquet', broken, /a\.parquet/);
});
