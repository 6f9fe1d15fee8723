import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '@heddle/actor';
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
    submit: async (kind, json, options) => {
      assert.equal(kind, 'attribution.why');
      seen = [json, options?.key ?? ''];
      return { id: 'job-1' } as JobView;
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

const side = (count: number, value: number) => {
  const terms = Array.from({ length: count }, (_, i) => ({
    kind: 'head' as const,
    layer: 0,
    head: 0,
    position: i,
    contribution: value / count + (i % 2 === 0 ? 1 : -1),
  }));
  const sum = terms.reduce((total, { contribution }) => total + contribution, 0);
  const termsAbsSum = terms.reduce((total, { contribution }) => total + Math.abs(contribution), 0);
  const residual = 3 - sum;
  return {
    terms,
    check: { value: 3, sum, residual, termsAbsSum, holds: Math.abs(residual) < 1e-9 },
  };
};
const why = { layer: 0, head: 0, query: 1, key: 0, attention: 0.5, pairs: null };

test('the listed sources of both sides sum to the score once, and the hidden ones are summed too', () => {
  const sides = { query: side(SOURCES_SHOWN, 3), key: side(4, 3) };
  const { summary, all, holds } = scoreReport({ ...why, sides });
  assert.equal(holds, true);
  const total = (list: { contribution: number }[]) =>
    list.reduce((sum, { contribution }) => sum + contribution, 0);
  const sources = summary['sources'] as { contribution: number }[];
  const rest = summary['rest'] as { count: number; sum: number };
  assert.equal(sources.length, SOURCES_SHOWN);
  assert.equal(rest.count, 4);
  assert.ok(Math.abs(total(sources) + rest.sum - 3) < 1e-9);
  assert.ok(Math.abs(total((all as { sources: { contribution: number }[] }).sources) - 3) < 1e-9);
  assert.ok(Math.abs((summary['sum'] as number) - 3) < 1e-9);
});

test('opposite errors of the two sides do not cancel', () => {
  const { holds, summary } = scoreReport({ ...why, sides: { query: side(4, 2), key: side(4, 4) } });
  assert.ok(Math.abs(summary['residual'] as number) < 1e-9);
  assert.equal(holds, false);
  assert.equal(summary['holds'], false);
});
