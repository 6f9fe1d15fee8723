import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '@heddle/actor';
import type { OperationError } from '@heddle/core';
import { silentLog } from '@heddle/testkit';
import { trainHandlers } from './train-handlers.ts';
import { noKernels, startTrain } from './training-fixture.ts';

const SIZES = { d_model: 6, d_head: 4, n_heads: 2, n_ctx: 16, n_layers: 2 };

const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };

function setUp() {
  const submitted: unknown[] = [];
  const handlers = trainHandlers({
    sizes: async () => SIZES,
    kernels: noKernels,
    jobs: {
      submit: async (kind, request, options) => {
        assert.equal(kind, 'lorsa.train');
        submitted.push([request, options?.key]);
        return { id: 'job-1' } as JobView;
      },
    },
  });
  return { handlers, submitted };
}

const START = startTrain({ model: 'm', layer: 1, seed: 9, backend: 'graph', client_key: 'mine' });

test('StartTrain submits the checked request under the caller’s key', async () => {
  const { handlers, submitted } = setUp();
  const reply = await handlers.StartTrain?.(START, call);
  assert.deepEqual(reply, { job: { id: 'job-1' } });
  const [[request, key]] = submitted as [[{ model: string; seed: number }, string]];
  assert.deepEqual([request.model, request.seed, key], ['m', 9, 'mine']);
});

test('StartTrain refuses at once what does not fit the host, and submits nothing', async () => {
  const { handlers, submitted } = setUp();
  const { architecture } = startTrain({ architecture: { n_qk_heads: 3 } });
  for (const [change, field] of [
    [{ layer: 2 }, 'layer'],
    [{ architecture }, 'architecture.n_qk_heads'],
  ] as const) {
    await assert.rejects(
      handlers.StartTrain?.({ ...START, ...change }, call) ?? Promise.resolve(),
      (error: OperationError) => error.code === 'invalid_argument' && error.field === field,
    );
  }
  assert.deepEqual(submitted, []);
});
