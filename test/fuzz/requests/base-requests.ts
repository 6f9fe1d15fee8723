import type { Rng } from '@heddle/core';

/** Names under which the server of the test knows its tiny models (folders of test/golden/models). */
export const MODELS = ['gpt2', 'llama3', 'neox-parallel', 'qwen3'] as const;

const HOOKS = [
  'hook_embed',
  'blocks.0.hook_resid_pre',
  'blocks.0.ln1.hook_scale',
  'blocks.0.attn.hook_q',
  'blocks.1.attn.hook_k',
  'blocks.*.attn.hook_z',
  'blocks.0.attn.hook_attn_scores',
  'blocks.1.attn.hook_pattern',
  'blocks.1.attn.hook_result',
  'blocks.[01].hook_mlp_out',
  'blocks.1.hook_resid_post',
  'ln_final.hook_normalized',
  'logits',
];

/** Hook and width of its last axis in every one of the models (0: the length of the prompt). */
const CHANGED = [
  { hook: 'blocks.0.hook_resid_pre', width: 24 },
  { hook: 'blocks.0.attn.hook_z', width: 8 },
  { hook: 'blocks.1.attn.hook_q', width: 8 },
  { hook: 'blocks.1.hook_mlp_out', width: 24 },
  { hook: 'blocks.0.attn.hook_pattern', width: 0 },
  { hook: 'blocks.1.attn.hook_attn_scores', width: 0 },
];

const some = <T>(rng: Rng, most: number, make: () => T): T[] =>
  Array.from({ length: rng.below(most + 1) }, make);

/** A run that the server should be able to do, as a plain request object. */
function aRun(rng: Rng): Record<string, unknown> {
  const prompts = Array.from({ length: 1 + rng.below(3) }, (_, i) => ({
    id: `p${i}`,
    tokens: { ids: Array.from({ length: 2 + rng.below(6) }, () => rng.below(50)) },
  }));
  return {
    model: rng.pick(MODELS),
    prompts,
    options: { bos: false, no_special: false },
    hooks: Array.from({ length: 1 + rng.below(3) }, () => rng.pick(HOOKS)),
    positions: rng.below(3) === 0 ? [0, 1] : [],
    dtype: rng.pick(['ELEMENT_TYPE_UNSPECIFIED', 'ELEMENT_TYPE_F32', 'ELEMENT_TYPE_F16']),
    interventions: some(rng, 2, () => anIntervention(rng)),
    alone: rng.below(4) === 0,
  };
}

function anIntervention(rng: Rng): Record<string, unknown> {
  const { hook, width } = rng.pick(CHANGED);
  const size = width === 0 ? 1 : rng.pick([1, width]);
  const values = Float32Array.from({ length: size }, () => rng.normal());
  return {
    hook,
    kind: `INTERVENTION_KIND_${rng.pick(['ADD', 'REPLACE', 'SCALE', 'ZERO'])}`,
    positions: rng.below(2) === 0 ? [rng.below(2)] : [],
    heads: hook.includes('attn') && rng.below(2) === 0 ? [rng.below(2)] : [],
    prompts: rng.below(2) === 0 ? [0] : [],
    value: {
      dtype: 'ELEMENT_TYPE_F32',
      shape: [size],
      data: new Uint8Array(values.buffer),
    },
    factor: rng.pick([0, -1, 0.5, 3]),
  };
}

const prompt = { id: '', tokens: { ids: [1, 5, 9, 5] } };
const contrast = { feature: 'x', prompt, query: 3, positive: [1], negative: [0, 2] };
/** No blob has this digest. */
const NO_BLOB = `sha256:${'0'.repeat(64)}`;
/** No job has this id. */
const job = { id: '01J0000000000000000000000Z' };

/** One short step; what does not fit the model is refused, and that is an answer too. */
const aTraining = (rng: Rng): Record<string, unknown> => ({
  model: rng.pick(MODELS),
  layer: 0,
  preset: rng.pick(['', '', 'small', 'paper-pythia-160m']),
  architecture: { n_ov_heads: 8, n_qk_heads: 2, d_qk_head: 8, top_k: 2, init: '' },
  optimiser: {
    ...{ steps: 1, batch: 1, context: 8, learning_rate: 0.01, warmup_steps: 1 },
    top_k_schedule: { shape: 'linear', from: 4, steps: 1 },
  },
  auxiliary: { coefficient: rng.pick([0, 0.03]), top_k: 2 },
  data: { prompts: [prompt, { id: '', tokens: { ids: [2, 3, 4] } }], tokens_max: 100 },
  backend: rng.pick(['', 'graph', 'sparse']),
  seed: 1,
});

const OTHERS: Readonly<Record<string, (rng: Rng) => Record<string, unknown>>> = {
  'activation/ImportModel': (rng) => ({ source: rng.pick(MODELS), name: 'other' }),
  'activation/StartImportModel': (rng) => ({
    source: rng.pick([`content:${NO_BLOB}`, '/nowhere/model']),
    name: 'other',
    client_key: '',
  }),
  'activation/UploadModel': () => ({
    manifest: { files: [{ name: 'config.json', bytes: 5, digest: NO_BLOB }] },
  }),
  'activation/ListModels': () => ({}),
  'activation/DescribeModel': (rng) => ({ model: rng.pick(MODELS) }),
  'activation/RemoveModel': () => ({ name: 'other' }),
  'activation/ListHooks': (rng) => ({ model: rng.pick(MODELS) }),
  'activation/Tokenize': (rng) => ({
    model: rng.pick(MODELS),
    prompt: rng.pick([prompt, { text: 'Mary gave a drink' }]),
    options: { bos: true },
  }),
  'activation/StartCacheActivations': (rng) => ({
    model: rng.pick(MODELS),
    hooks: ['logits', 'blocks.0.hook_attn_out'],
    prompts: [prompt, { id: '', tokens: { ids: [2, 3] } }],
    context: 8,
  }),
  'jobs/Get': () => job,
  'jobs/List': () => ({ limit: 10, after: '', kinds: ['qk.fit'], states: ['JOB_STATE_RUNNING'] }),
  'jobs/Watch': () => job,
  'jobs/Cancel': () => job,
  'jobs/Pause': () => job,
  'jobs/Resume': () => job,
  'jobs/Result': () => job,
  'jobs/ReadArtifact': () => ({ ...job, name: 'graph.json' }),
  'jobs/Rerun': () => ({ ...job, client_key: 'k' }),
  'jobs/Pin': () => ({ ...job, pinned: true }),
  'jobs/CollectGarbage': () => ({ dry_run: true }),
  'lorsa/StartTrain': (rng) => aTraining(rng),
  'lorsa/StartSweep': (rng) => ({
    base: aTraining(rng),
    layers: [0, 1],
    n_ov_heads: [8],
    top_k: [1, 2],
    seeds: [0],
  }),
  'lorsa/StartBaseline': () => ({ checkpoint: job.id, seed: 1 }),
  'lorsa/StartEvaluate': (rng) => ({
    checkpoint: rng.pick([job.id, '/tmp/none']),
    data: { prompts: [prompt], tokens_max: 100 },
    top_k: [1, 2],
    baseline: true,
  }),
  'lorsa/StartAnalysis': () => ({
    checkpoint: job.id,
    data: { prompts: [prompt] },
    samples: 4,
    quantile_samples: 2,
    seed: 1,
  }),
  'lorsa/ListHeads': (rng) => ({
    checkpoints: rng.pick([[], [job.id]]),
    detector: 'induction',
    score_min: 0.5,
    token: { id: 3 },
    role: 'raises',
    page_size: 5,
  }),
  'lorsa/DescribeHead': () => ({ checkpoint: job.id, head: 2, analysis: '' }),
  'lorsa/StartImport': (rng) => ({ checkpoint: '/tmp/none', model: rng.pick(MODELS) }),
  'lorsa/Export': () => ({ checkpoint: job.id, fold: true }),
  'lorsa/Apply': () => ({ start: { checkpoint: 'job', z_pattern: true, pattern: false } }),
  'lorsa/DescribeCheckpoint': () => ({ checkpoint: '/tmp/none' }),
  'qk/StartFit': (rng) => ({
    model: rng.pick(MODELS),
    contrasts: [contrast],
    heads: [{ layer: 0, head: 1 }],
    weighting: 'WEIGHTING_BALANCED',
  }),
  'qk/StartScan': (rng) => ({ model: rng.pick(MODELS), contrasts: [contrast] }),
  'circuit/StartTrace': (rng) => ({
    model: rng.pick(MODELS),
    prompts: [prompt],
    targets: [{ id: 3 }],
    versus: [{ id: 4 }],
    method: 'TRACE_METHOD_SAD',
    threshold: 0.5,
    position: 3,
  }),
  'attribution/StartWhy': (rng) => ({
    model: rng.pick(MODELS),
    prompt,
    score: { head: { layer: 1, head: 0 }, query: 3, key: 1 },
  }),
};

/** A valid request of any method; half of them runs, which have most to get wrong. */
export function baseRequest(rng: Rng): { method: string; request: Record<string, unknown> } {
  if (rng.below(2) === 0) return { method: 'activation/Run', request: aRun(rng) };
  const method = rng.pick(Object.keys(OTHERS));
  return { method, request: (OTHERS[method] as (rng: Rng) => Record<string, unknown>)(rng) };
}

/** A run that stays the same: asked before and after all mutants. */
export const ORDINARY_RUN = {
  model: 'llama3',
  prompts: [{ id: 'a', tokens: { ids: [1, 17, 4, 17, 30] } }],
  hooks: ['blocks.*.attn.hook_pattern', 'blocks.1.hook_resid_post', 'logits'],
  alone: true,
};
