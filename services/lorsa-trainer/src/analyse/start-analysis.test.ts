import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '@heddle/actor';
import { failedPrecondition, Rng } from '@heddle/core';
import { initialiseLevelA, type LorsaLayer, mapWeights, toF32 } from '@heddle/interp/lorsa';
import type { StartAnalysisRequest } from '@heddle/ports/proto/lorsa';
import { silentLog } from '@heddle/testkit';
import type { OpenCheckpoint } from '../checkpoint-files.ts';
import { FinishedAnalyses } from './finished-analyses.ts';
import { headHandlers } from './handlers.ts';

const config = {
  ...{ d_model: 6, n_ov_heads: 8, n_qk_heads: 2, d_qk_head: 4, n_ctx: 16, topK: 3 },
  ...{ activation: 'topk' as const, signed: false, decoderNormInGate: true, useDecoderBias: true },
  ...{ attnScale: 2, rotary: undefined, qkNormEps: undefined },
};
const layer: LorsaLayer = {
  config,
  weights: mapWeights(initialiseLevelA(config, new Rng(1)), toF32),
  hookIn: 'blocks.2.ln1.hook_normalized',
  hookOut: 'blocks.2.hook_attn_out',
  normalisation: 'inference',
};

const asked = (changes: Partial<StartAnalysisRequest> = {}): StartAnalysisRequest => ({
  ...{ checkpoint: 'run-1', model: '', data: null, samples: 0, quantile_samples: 0 },
  ...{ baseline: false, seed: 0, client_key: '' },
  ...changes,
});

function setUp(changes: { layer?: Partial<LorsaLayer>; digest?: () => string } = {}) {
  const jobs: JobView[] = [];
  const open = async () => {
    const digest = changes.digest?.() ?? 'sha256:c';
    return { layer: { ...layer, ...changes.layer }, digest, provenance: {} } as OpenCheckpoint;
  };
  const list = async () => ({ jobs });
  const handlers = headHandlers({
    jobs: {
      submit: async (kind, request) => {
        jobs.unshift({ id: `job-${jobs.length}`, kind, request, status: 'queued' } as JobView);
        return jobs[0] as JobView;
      },
    },
    analyses: new FinishedAnalyses({
      blobs: { read: () => assert.fail('no result is read') },
      jobs: { list, get: () => assert.fail('no job is looked up') },
      checkpoint: open,
    }),
    checkpoint: open,
    hosts: { target: () => assert.fail('no token'), capture: () => assert.fail('no capture') },
    requireBaseline: async () => {
      throw failedPrecondition('no training made this checkpoint', { field: 'baseline' });
    },
  });
  const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };
  const start = async (request: Partial<StartAnalysisRequest> = {}) =>
    (await handlers.StartAnalysis?.(asked(request), call))?.job?.id;
  return { jobs, start };
}

test('what was asked before, and defaults said in words, is the same job', async () => {
  const { jobs, start } = setUp();
  const first = await start();
  assert.equal(await start(), first);
  assert.equal(await start({ samples: 8, quantile_samples: 8, client_key: 'other' }), first);
  assert.notEqual(await start({ seed: 1 }), first);
  assert.notEqual(await start({ samples: 9 }), first);
  assert.equal(jobs.length, 3);
});

test('a corpus file, and a checkpoint that has changed, are asked about anew', async () => {
  let content = 0;
  const { start } = setUp({ digest: () => `sha256:${content}` });
  const data = { prompts: [], corpus: '/text', tokens_max: 0, activations: '' };
  assert.notEqual(await start({ data }), await start({ data }), 'its job compares the text');
  const before = await start();
  content = 1;
  assert.notEqual(await start(), before);
});

test('what the job would refuse is refused before there is one', async () => {
  const refused = async (
    world: ReturnType<typeof setUp>,
    request: Partial<StartAnalysisRequest>,
    expected: object,
  ) => {
    await assert.rejects(world.start(request), expected);
    assert.deepEqual(world.jobs, []);
  };
  const code = 'failed_precondition';
  await refused(setUp({ layer: { normalisation: 'token-wise' } }), {}, { code });
  const batchtopk = { ...config, activation: 'batchtopk' as const };
  await refused(setUp({ layer: { config: batchtopk } }), {}, { code: 'unimplemented' });
  await refused(setUp(), { baseline: true }, { code, field: 'baseline' });
  await refused(setUp(), { samples: 65 }, { code: 'invalid_argument', field: 'samples' });
  await refused(setUp(), { seed: -1 }, { code: 'invalid_argument', field: 'seed' });
  const both = { prompts: [{ id: '', text: 'x' }], corpus: '/y', tokens_max: 0, activations: '' };
  await refused(setUp(), { data: both }, { code: 'invalid_argument' });
});
