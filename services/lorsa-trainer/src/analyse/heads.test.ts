import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '@heddle/actor';
import { invalidArgument, notFound, type OperationError, Rng } from '@heddle/core';
import {
  initialiseLevelA,
  type LorsaLayer,
  lorsaForward,
  mapWeights,
  toF32,
} from '@heddle/interp/lorsa';
import { encodeOutcome } from '@heddle/ports';
import type { DescribeHeadRequest, ListHeadsRequest } from '@heddle/ports/proto/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import { MemoryBlobs, VirtualClock } from '@heddle/testkit';
import type { OpenCheckpoint } from '../checkpoint-files.ts';
import { type AnalysisFacts, type HeadFindings, writeAnalysis } from './analysis-file.ts';
import { describeHead } from './describe-head.ts';
import { FACTS, finding, SIZES, TEXT } from './fake-analysis.ts';
import { FinishedAnalyses } from './finished-analyses.ts';
import { listHeads } from './list-heads.ts';

const D = 6;
const config = {
  d_model: D,
  n_ov_heads: 4,
  n_qk_heads: 2,
  d_qk_head: 4,
  n_ctx: 16,
  activation: 'topk' as const,
  topK: 2,
  signed: false,
  decoderNormInGate: true,
  useDecoderBias: true,
  attnScale: 2,
  rotary: { dim: 4, base: 100, layout: 'half' as const },
  qkNormEps: undefined,
};
const layer: LorsaLayer = {
  config,
  weights: mapWeights(initialiseLevelA(config, new Rng(1)), toF32),
  hookIn: FACTS.hook_in,
  hookOut: 'blocks.2.hook_attn_out',
  normalisation: 'inference',
};

/** x of a sequence, from its tokens alone. */
function xOf(tokens: readonly number[]): Tensor<'f32'> {
  const rows = tokens.map((id) => {
    const rng = new Rng(id);
    return Array.from({ length: D }, () => rng.normal());
  });
  return tensor('f32', [tokens.length, D], Float32Array.from(rows.flat()));
}

/** Analyses that have finished, newest first, and the questions about them. */
async function world(
  ...analyses: readonly { facts?: Partial<AnalysisFacts>; heads?: HeadFindings[] }[]
) {
  const blobs = new MemoryBlobs(new VirtualClock());
  const jobs: JobView[] = [];
  for (const [at, { facts, heads }] of analyses.entries()) {
    const all = { ...FACTS, ...facts };
    const found = heads ?? Array.from({ length: 4 }, (_, head) => finding(head));
    const { digest, bytes } = await blobs.put(writeAnalysis(all, SIZES, found, TEXT));
    const name = 'heads.safetensors';
    const mediaType = 'application/x-safetensors' as const;
    const outcome = encodeOutcome({ summary: {}, artifacts: [{ name, digest, bytes, mediaType }] });
    const result = await blobs.put(outcome);
    const { checkpoint, checkpoint_digest } = all;
    jobs.push({
      id: `analysis-${at}`,
      kind: 'lorsa.analyse',
      status: 'completed',
      request: { checkpoint, checkpoint_digest },
      result: { ...result, references: [digest] },
    } as unknown as JobView);
  }
  const finished = new FinishedAnalyses({
    blobs,
    jobs: {
      list: async ({ before } = {}) => {
        // One job a page, so that paging is tested too.
        const from = before === undefined ? 0 : jobs.findIndex(({ id }) => id === before) + 1;
        const next = from + 1 < jobs.length ? { next: (jobs[from] as JobView).id } : {};
        return { jobs: jobs.slice(from, from + 1), ...next };
      },
      get: async (id) => {
        throw notFound(`no job ${id}`);
      },
    },
    checkpoint: async (name) => {
      if (name === 'run-9') throw notFound('no job run-9');
      const known = { 'run-1': 'sha256:c', '/folder': 'sha256:c', 'run-2': 'd' };
      const digest = known[name as keyof typeof known] ?? 'sha256:other';
      return { layer, digest, provenance: {} } as OpenCheckpoint;
    },
  });
  const captured: number[][] = [];
  return {
    captured,
    list: (request: Partial<ListHeadsRequest> = {}) =>
      listHeads(
        {
          analyses: finished,
          token: async (_, token) => {
            if ('id' in token) return token.id;
            if (/^ t\d+$/.test(token.text)) return Number(token.text.slice(2));
            throw invalidArgument('not one token', { field: 'token' });
          },
        },
        {
          checkpoints: [],
          detector: '',
          score_min: 0,
          token: null,
          role: '',
          page_size: 0,
          page_token: '',
          ...request,
        },
      ),
    describe: (request: Partial<DescribeHeadRequest> = {}) =>
      describeHead(
        {
          analyses: finished,
          layer: async () => layer,
          capture: async (_, hook, sequences) => {
            assert.equal(hook, FACTS.hook_in);
            captured.push(...sequences.map((ids) => [...ids]));
            return sequences.map(xOf);
          },
        },
        { checkpoint: 'run-1', head: 1, analysis: '', ...request },
        new AbortController().signal,
      ),
  };
}

const headsOf = ({ heads = [] }: Awaited<ReturnType<Awaited<ReturnType<typeof world>>['list']>>) =>
  heads.map(({ head }) => head);

test('heads come by frequency, or by the score of a detector', async () => {
  const { list } = await world({});
  assert.deepEqual(headsOf(await list()), [1, 0, 2, 3]);
  assert.deepEqual(headsOf(await list({ detector: 'induction' })), [3, 2, 1, 0]);
  assert.deepEqual(headsOf(await list({ detector: 'induction', score_min: 0.5 })), [3, 2]);
  assert.deepEqual(headsOf(await list({ detector: 'sink' })), [], 'it does not apply');
  assert.deepEqual(headsOf(await list({ layer: 1 })), []);
});

test('pages have every head once, and a page of another question is refused', async () => {
  const { list } = await world({}, { facts: { checkpoint: 'run-2', checkpoint_digest: 'd' } });
  const whole = await list();
  const paged: unknown[] = [];
  let page_token = '';
  do {
    const page = await list({ page_size: 3, page_token });
    paged.push(...(page.heads ?? []));
    page_token = page.next_page_token ?? '';
  } while (page_token !== '');
  assert.equal(paged.length, 8);
  assert.deepEqual(paged, whole.heads);
  const { next_page_token: first = '' } = await list({ page_size: 3 });
  const field = 'page_token';
  await assert.rejects(list({ page_token: first, detector: 'induction' }), { field });
  await assert.rejects(list({ page_token: 'x' }), { field });
  const { list: fewer } = await world({});
  await assert.rejects(fewer({ page_token: first }), { field }, 'an analysis is gone');
});

test('heads are found by a token, in any role or in one', async () => {
  const { list } = await world({});
  assert.deepEqual(headsOf(await list({ token: { text: ' t22' } })), [2]);
  assert.deepEqual(headsOf(await list({ token: { text: ' t22' }, role: 'reads_from' })), [2]);
  assert.deepEqual(headsOf(await list({ token: { text: ' t22' }, role: 'raises' })), []);
  assert.deepEqual(headsOf(await list({ token: { id: 50 }, detector: 'induction' })), [3, 2, 1, 0]);
  await assert.rejects(list({ token: { text: 'two tokens' } }), { field: 'token' });
});

test('without a detector, heads to which a token matters more come first', async () => {
  const roles = finding(0).roles;
  const fires_on = [5, 6, 7].map((token) => ({ token, weight: 1 }));
  const heads = [
    finding(0),
    finding(1, { roles: { ...roles, fires_on } }),
    finding(2, { roles: { ...roles, fires_on: fires_on.toReversed() } }),
    finding(3, { roles: { ...roles, fires_on: fires_on.toReversed() } }),
  ];
  const { list } = await world({ heads });
  // Head 2 is active more often than head 3, head 1 most often.
  assert.deepEqual(headsOf(await list({ token: { id: 7 } })), [2, 3, 1]);
});

test('what cannot be meant is refused by field', async () => {
  const { list } = await world({});
  const cases: [Partial<ListHeadsRequest>, string][] = [
    [{ detector: 'magic' }, 'detector'],
    [{ role: 'raises' }, 'role'],
    [{ role: 'likes', token: { id: 1 } }, 'role'],
    [{ score_min: 0.5 }, 'score_min'],
    [{ score_min: Number.NaN, detector: 'sink' }, 'score_min'],
    [{ page_size: 1001 }, 'page_size'],
  ];
  for (const [request, field] of cases) {
    await assert.rejects(list(request), { code: 'invalid_argument', field });
  }
});

test('the newest analysis of a checkpoint answers; whatever it is called', async () => {
  const older = { heads: Array.from({ length: 4 }, (_, h) => finding(h, { activationMax: 9 })) };
  const { list, describe } = await world({}, older);
  assert.equal((await list()).heads?.length, 4, 'once, not twice');
  assert.equal((await describe()).summary?.analysis, 'analysis-0');
  assert.equal((await describe({ analysis: 'analysis-1' })).summary?.activation_max, 9);
  assert.equal((await describe({ checkpoint: '/folder' })).summary?.analysis, 'analysis-0');
  assert.deepEqual(headsOf(await list({ checkpoints: ['run-1', '/folder'] })), [1, 0, 2, 3]);
  await assert.rejects(describe({ checkpoint: '/other' }), { code: 'not_found' });
});

test('a checkpoint that nobody looked at is NOT_FOUND and names StartAnalysis; one that is none says that', async () => {
  const { list, describe } = await world({});
  for (const ask of [
    () => describe({ checkpoint: 'run-2' }),
    () => list({ checkpoints: ['run-2'] }),
  ]) {
    await assert.rejects(ask(), (error: OperationError) => {
      assert.equal(error.code, 'not_found');
      assert.match(error.message, /StartAnalysis/);
      assert.equal(error.details['missing'], 'analysis');
      return true;
    });
  }
  await assert.rejects(describe({ checkpoint: 'run-9' }), /no job run-9/);
  await assert.rejects(describe({ analysis: 'nothing' }), { code: 'not_found' });
});

test('a head that the checkpoint lacks is refused with the limit', async () => {
  const { describe } = await world({});
  await assert.rejects(describe({ head: 4 }), (error: OperationError) => {
    assert.equal(error.code, 'invalid_argument');
    assert.deepEqual([error.field, error.details['limit']], ['head', 3]);
    return true;
  });
});

test('the z-pattern of a served sample sums to the pre-activation of the whole layer, the pattern to 1', async () => {
  const { describe, captured } = await world({});
  for (const head of [0, 1, 2]) {
    const { samples = [] } = await describe({ head });
    assert.equal(samples.length, 1);
    const [sample] = samples;
    assert.deepEqual(sample?.token_ids, TEXT.sequences.get(2));
    assert.deepEqual(sample?.tokens, [' t6', ' t7', ' t8', ' t9']);
    const whole = lorsaForward(config, layer.weights, xOf([6, 7, 8, 9]));
    const norm = Math.hypot(...layer.weights.W_O.data.subarray(head * D, (head + 1) * D));
    const z = (whole.preActivations.data[1 * 4 + head] as number) * norm; // in units of what is written
    const sum = (values: readonly number[] = []) => values.reduce((a, b) => a + b, 0);
    assert.equal(sample?.z_pattern?.length, 2, 'from 0 to the position');
    assert.ok(Math.abs(sum(sample?.z_pattern) - z) < 1e-6, `${sum(sample?.z_pattern)}, ${z}`);
    assert.ok(Math.abs(sum(sample?.pattern) - 1) < 1e-12);
  }
  assert.equal(captured.length, 3, 'each sequence once a card');
  assert.deepEqual(
    (await describe({ head: 3 })).samples,
    [],
    'a dead head has a card without samples',
  );
});

test('a card says what holds for all heads, and leaves out what was not measured', async () => {
  const { describe } = await world({});
  const card = await describe({ head: 1 });
  assert.equal(card.auroc_lorsa, 0.8);
  assert.ok(!('auroc_baseline' in card));
  assert.equal(card.rule?.auroc, 0.75);
  assert.equal(card.rule?.auroc_baseline, 0.625);
  assert.deepEqual(
    card.summary?.scores?.map(({ detector, threshold }) => [detector, threshold]),
    [['induction', 0.5]],
  );
  assert.deepEqual(card.summary?.original_heads?.[0], { head: 0, share: 0.5 });
  assert.equal((await describe({ head: 3 })).rule?.auroc, undefined);
});
