import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TOKEN_ROLES } from '@heddle/interp/lorsa/heads';
import { AnalysisFile, type HeadFindings, tokensNamed, writeAnalysis } from './analysis-file.ts';
import { ByteCache } from './byte-cache.ts';
import { FACTS, finding, SIZES, TEXT } from './fake-analysis.ts';

const heads: readonly HeadFindings[] = Array.from({ length: FACTS.heads }, (_, head) =>
  finding(head),
);
const file = new AnalysisFile(writeAnalysis(FACTS, SIZES, heads, TEXT));

test('what is written of a head is read again, to single precision', () => {
  assert.deepEqual(file.facts, FACTS);
  const f32 = (value: unknown): unknown =>
    typeof value === 'number'
      ? Math.fround(value)
      : value instanceof Float32Array || Array.isArray(value)
        ? Array.from(value, f32)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, f32(each)]))
          : value;
  // Sequences are numbered anew: those that no sample names are not in the file.
  const places = new Map([[2, 0]]);
  heads.forEach((head, at) => {
    const samples = head.samples.map((s) => ({ ...s, sequence: places.get(s.sequence) }));
    assert.deepEqual(f32(file.head(at)), f32({ ...head, samples }), `head ${at}`);
  });
  assert.deepEqual([...file.sequence(0)], TEXT.sequences.get(2));
});

test('every token that is named has its text', () => {
  for (const id of tokensNamed(heads, TEXT.sequences)) {
    assert.equal(file.textOf(id), TEXT.tokens.get(id));
  }
  assert.equal(file.textOf(999), '');
});

test('a token has its place in a role, and none in another', () => {
  assert.equal(file.rank(1, 'fires_on', 11), 0);
  assert.equal(file.rank(1, 'reads_from', 50), 1);
  for (const role of TOKEN_ROLES.slice(1)) assert.equal(file.rank(1, role, 11), undefined, role);
  assert.equal(file.rank(0, 'fires_on', 11), undefined);
});

test('bytes that are no analysis are data_loss', () => {
  assert.throws(() => new AnalysisFile(new Uint8Array(20)), { code: 'data_loss' });
});

test('the file of 2048 heads with 16 samples each stays within 3 kB a head', () => {
  const many = Array.from({ length: 2048 }, (_, head) => ({
    ...finding(head % FACTS.heads),
    samples: Array.from({ length: 16 }, (_, at) => ({
      activation: at,
      sequence: at % 3,
      position: at,
      quantile: 1,
    })),
    scores: Array.from({ length: 9 }, () => ({ score: 0.5, evidence: 'x'.repeat(100) })),
  }));
  const detectors = Array.from({ length: 9 }, (_, at) => ({ detector: `d${at}`, threshold: 1 }));
  const facts = { ...FACTS, heads: many.length, detectors };
  const bytes = writeAnalysis(facts, { roleTokens: 10, samples: 16 }, many, TEXT).length;
  assert.ok(bytes / many.length < 3000, `${bytes / many.length} bytes a head`);
});

test('the cache forgets what was not used for longest, and never the newest', async () => {
  const cache = new ByteCache<{ bytes: number }>(10);
  let made = 0;
  const get = (key: string, bytes: number) =>
    cache.get(key, async () => {
      made++;
      return { bytes };
    });
  await get('a', 4);
  await get('b', 4);
  await get('a', 4);
  await get('c', 4); // b goes
  await get('a', 4);
  assert.equal(made, 3);
  await get('b', 4);
  assert.equal(made, 4);
  await get('huge', 100);
  await get('huge', 100);
  assert.equal(made, 5);
});
