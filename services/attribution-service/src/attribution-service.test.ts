import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '@heddle/core';
import type { CallContext } from '@heddle/ports';
import type { StartWhyRequest } from '@heddle/ports/proto/attribution';
import { scoreReport } from './compute.ts';
import { attributionHandlers } from './handlers.ts';
import { SOURCES_SHOWN } from './limits.ts';

const request = (changes: Partial<StartWhyRequest>): StartWhyRequest => ({
  model: 'm',
  prompt: { id: '', text: 'a b c' },
  options: null,
  client_key: 'k',
  ...changes,
});
const head = { layer: 1, head: 2 };

async function submitted(changes: Partial<StartWhyRequest>): Promise<[Json, string]> {
  let seen: [Json, string] | undefined;
  const { StartWhy } = attributionHandlers({
    submit: async (json, key) => {
      seen = [json, key];
      return { id: 'job-1' };
    },
  });
  const answer = await StartWhy?.(request(changes), {} as CallContext);
  assert.deepEqual(answer, { job: { id: 'job-1' } });
  assert.ok(seen !== undefined);
  return seen;
}

test('a question becomes a job of plain JSON, under the caller’s key', async () => {
  const [json, key] = await submitted({ score: { head, query: 2 } });
  assert.equal(key, 'k');
  assert.deepEqual(json, {
    model: 'm',
    prompt: { text: 'a b c' },
    options: { bos: false, no_special: false },
    question: { kind: 'score', layer: 1, head: 2, query: 2, key: null },
  });
  const [logit] = await submitted({ logit: { token: { id: 0 }, position: 0 } });
  assert.deepEqual((logit as { question: Json }).question, {
    kind: 'logit',
    token: { id: 0 },
    position: 0,
  });
});

test('what is wrong before the model is known is refused by field, and nothing is submitted', async () => {
  const refused = (changes: Partial<StartWhyRequest>, field: string) =>
    assert.rejects(submitted(changes), { field });
  await refused({}, 'question');
  await refused({ prompt: null, logit: { token: null } }, 'prompt');
  await refused({ prompt: { id: '', text: '' }, logit: { token: null } }, 'prompt');
  await refused({ score: { head: null, query: 1 } }, 'score.head');
  await refused({ score: { head, query: 1, key: 2 } }, 'score.key');
  await refused({ logit: { token: {} } }, 'logit.token');
  const long = { id: '', tokens: { ids: Array.from({ length: 65 }, () => 0) } };
  await assert.rejects(submitted({ prompt: long, logit: { token: null } }), {
    code: 'resource_exhausted',
  });
});

test('a summary shows the strongest sources and the sum of the others; the sum on top is the worse side’s', () => {
  const side = (count: number, residual: number) => {
    const terms = Array.from({ length: count }, (_, i) => ({
      kind: 'head' as const,
      layer: 0,
      head: 0,
      position: i,
      contribution: 1 / (i + 1),
    }));
    const sum = terms.reduce((total, { contribution }) => total + contribution, 0);
    const check = { value: sum + residual, sum, residual, termsAbsSum: sum, holds: residual === 0 };
    return { terms, check };
  };
  const why = { layer: 0, head: 0, query: 1, key: 0, attention: 0.5, pairs: null };
  const { summary, holds } = scoreReport({
    ...why,
    sides: { query: side(SOURCES_SHOWN, 0), key: side(3, 1) },
  });
  assert.equal(holds, false);
  assert.equal(summary['residual'], 1);
  const sources = summary['sources'] as { contribution: number }[];
  assert.equal(sources.length, SOURCES_SHOWN);
  const rest = summary['rest'] as { count: number; sum: number };
  assert.equal(rest.count, 3);
  const all = side(SOURCES_SHOWN, 0).check.sum + side(3, 0).check.sum;
  const shown = sources.reduce((sum, { contribution }) => sum + contribution, 0);
  assert.ok(Math.abs(shown + rest.sum - all) < 1e-12);
});
