import { createHash } from 'node:crypto';

/** One call of the scenario, before it is bytes. */
export interface Call {
  readonly name: string;
  /** `/heddle.jobs.v1.JobsService/Get` */
  readonly path: string;
  readonly requests: readonly object[];
}

/** A folder of test/golden/models, copied under this name into the server's working directory. */
export const TINY_MODEL = 'gpt2';

/** What the training of the scenario leaves, kept beside the transcripts: later calls read it by this name. */
export const CHECKPOINT = 'checkpoint.safetensors';

/** As the job runtime of the first landing named jobs, and every one since has to: a key asked again names the same job. */
export function jobId(kind: string, key: string): string {
  const hash = createHash('sha256').update(`${kind}\n${key}`).digest('hex');
  return `${kind.replace('.', '-')}-${hash.slice(0, 12)}`;
}

const [D_MODEL, POSITIONS] = [144, 6];
const text = (content: string) => ({ text: content });
const tokens = (...ids: number[]) => ({ tokens: { ids } });
const floats = (length: number, at: (i: number) => number) =>
  new Uint8Array(Float32Array.from({ length }, (_, i) => at(i)).buffer);

/** A training of a second; every number said, so that no default of a later build changes it. */
export function training(key: string, rest: Readonly<Record<string, unknown>> = {}): object {
  const { optimiser = {}, ...others } = rest;
  return {
    layer: 1,
    architecture: { n_ov_heads: 6, n_qk_heads: 2, d_qk_head: 4, top_k: 2, init: 'xavier' },
    optimiser: {
      ...{ steps: 30, batch: 2, context: 16, learning_rate: 0.003, warmup_steps: 5, clip_norm: 1 },
      ...(optimiser as object),
    },
    data: { prompts: TEXTS.map(text) },
    seed: 3,
    backend: 'graph',
    checkpoint_steps: 10,
    client_key: key,
    ...others,
  };
}

const TEXTS = [
  'When Mary and John went to the store, John gave a drink to Mary.',
  'When Tom and Anna went to the park, Tom gave a book to Anna.',
  'The red box holds a key. The blue box holds a coin.',
  'one two three four five six seven eight nine ten eleven twelve',
  'When Anna and Mary went to the office, Mary gave a ring to Anna.',
];

const ACTIVATION = '/heddle.activation.v1.ActivationService';
const JOBS = '/heddle.jobs.v1.JobsService';
const LORSA = '/heddle.lorsa.v1.LorsaService';
const QK = '/heddle.qk.v1.QkService';
const CIRCUIT = '/heddle.circuit.v1.CircuitService';
const ATTRIBUTION = '/heddle.attribution.v1.AttributionService';

const call = (path: string, name: string, ...requests: readonly object[]): Call => ({
  name,
  path,
  requests,
});

const MODELS: readonly Call[] = [
  call(`${ACTIVATION}/ListModels`, 'the models of a new server', {}),
  call(`${ACTIVATION}/DescribeModel`, 'the bundled model', {}),
  call(`${ACTIVATION}/DescribeModel`, 'a model that is not there', { model: 'nobody' }),
  call(`${ACTIVATION}/ImportModel`, 'a folder gets a name', { source: TINY_MODEL, name: 'tiny' }),
  call(`${ACTIVATION}/ImportModel`, 'a name twice', { source: TINY_MODEL, name: 'tiny' }),
  call(`${ACTIVATION}/ImportModel`, 'a bad name', { source: TINY_MODEL, name: 'a b' }),
  call(`${ACTIVATION}/DescribeModel`, 'the tiny model', { model: 'tiny' }),
  call(`${ACTIVATION}/ListModels`, 'two models', {}),
  call(`${ACTIVATION}/ListHooks`, 'hook points of a model without rotary embedding', {
    model: 'tiny',
  }),
  call(`${ACTIVATION}/Tokenize`, 'text', { prompt: text('When Mary and John went') }),
  call(`${ACTIVATION}/Tokenize`, 'text with BOS', {
    prompt: text('Mary'),
    options: { bos: true },
  }),
  call(`${ACTIVATION}/Tokenize`, 'BOS and none', {
    prompt: text('Mary'),
    options: { bos: true, no_special: true },
  }),
  call(`${ACTIVATION}/Tokenize`, 'text without a tokenizer', {
    model: 'tiny',
    prompt: text('Mary'),
  }),
];

const RUNS: readonly Call[] = [
  call(`${ACTIVATION}/Run`, 'pattern, z and residual of two prompts', {
    prompts: [
      { id: 'a', ...text('Mary and John') },
      { id: 'b', ...tokens(5, 6, 7, 8) },
    ],
    hooks: ['blocks.[01].attn.hook_pattern', 'blocks.1.attn.hook_z'],
    alone: true,
  }),
  call(`${ACTIVATION}/Run`, 'chosen positions in half precision', {
    prompts: [tokens(5, 6, 7, 8)],
    hooks: ['blocks.2.hook_resid_post', 'blocks.0.ln1.hook_scale'],
    positions: [1, 3],
    dtype: 'ELEMENT_TYPE_F16',
  }),
  call(`${ACTIVATION}/Run`, 'a head taken away, one scaled, a vector added', {
    prompts: [tokens(5, 6, 7, 8)],
    hooks: ['blocks.3.hook_resid_post'],
    positions: [3],
    interventions: [
      { hook: 'blocks.0.attn.hook_z', kind: 'INTERVENTION_KIND_ZERO', heads: [1] },
      { hook: 'blocks.1.attn.hook_z', kind: 'INTERVENTION_KIND_SCALE', heads: [0], factor: 0.5 },
      {
        hook: 'blocks.2.hook_resid_pre',
        kind: 'INTERVENTION_KIND_ADD',
        positions: [2],
        value: {
          dtype: 'ELEMENT_TYPE_F32',
          shape: [D_MODEL],
          data: floats(D_MODEL, (i) => Math.sin(i)),
        },
      },
    ],
    alone: true,
  }),
  call(`${ACTIVATION}/Run`, 'a gradient', {
    prompts: [tokens(5, 6, 7, 8)],
    hooks: ['blocks.1.attn.hook_z', 'blocks.3.attn.hook_pattern'],
    gradient: 'logit[3, id:9]',
  }),
  call(`${ACTIVATION}/Run`, 'logits of the tiny model', {
    model: 'tiny',
    prompts: [tokens(1, 5, 9, 5)],
    hooks: ['logits'],
  }),
  call(`${ACTIVATION}/Run`, 'a hook that is not there', {
    prompts: [tokens(5)],
    hooks: ['blocks.9.hook_nothing'],
  }),
  call(`${ACTIVATION}/Run`, 'a token that is not there', {
    prompts: [tokens(5), tokens(5, 99_999)],
    hooks: ['logits'],
  }),
  call(`${ACTIVATION}/Run`, 'no prompts', { hooks: ['logits'] }),
  call(`${ACTIVATION}/StartCacheActivations`, 'not built then', { hooks: ['logits'] }),
  call(`${ACTIVATION}/RemoveModel`, 'a name is forgotten', { name: 'tiny' }),
  call(`${ACTIVATION}/RemoveModel`, 'a name that is not there', { name: 'tiny' }),
];

const IDS = {
  fit: jobId('qk.fit', 'fit'),
  why: jobId('attribution.why', 'why score'),
  trace: jobId('circuit.trace', 'trace'),
  train: jobId('lorsa.train', 'train'),
  long: jobId('lorsa.train', 'long'),
};

const contrast = (query: number, positive: number[], negative: number[]) => ({
  feature: 'name',
  prompt: text('When Mary and John went to the store'),
  query,
  positive,
  negative,
});

export const METHOD_JOBS: readonly Call[] = [
  call(`${QK}/StartFit`, 'a fit of one head', {
    contrasts: [contrast(6, [1, 3], [0, 2]), contrast(5, [1], [4, 2])],
    heads: [{ layer: 1, head: 0 }],
    weighting: 'WEIGHTING_BALANCED',
    client_key: 'fit',
  }),
  call(`${ATTRIBUTION}/StartWhy`, 'why a score', {
    prompt: text('When Mary and John went to the store, John gave a drink to'),
    score: { head: { layer: 1, head: 1 }, query: 8, key: 3 },
    client_key: 'why score',
  }),
  call(`${CIRCUIT}/StartTrace`, 'a trace', {
    prompts: [text('When Mary and John went to the store, John gave a drink to')],
    method: 'TRACE_METHOD_ACCPP',
    objective: 'OBJECTIVE_LOGIT',
    client_key: 'trace',
  }),
];

const METHODS: readonly Call[] = [
  ...METHOD_JOBS,
  call(`${QK}/StartFit`, 'the same fit again', METHOD_JOBS[0]?.requests[0] ?? {}),
  call(`${QK}/StartFit`, 'another fit under its key', {
    contrasts: [contrast(6, [1], [0])],
    client_key: 'fit',
  }),
  call(`${QK}/StartFit`, 'a position behind the query', {
    contrasts: [contrast(2, [5], [0])],
    client_key: 'bad fit',
  }),
  call(`${JOBS}/Watch`, 'the bad fit to its end', { id: jobId('qk.fit', 'bad fit') }),
  call(`${QK}/StartScan`, 'not built then', { contrasts: [contrast(6, [1], [0])] }),
  call(`${ATTRIBUTION}/StartWhy`, 'why a logit', {
    prompt: tokens(5, 6, 7, 8),
    logit: { token: { id: 9 } },
    client_key: 'why logit',
  }),
  call(`${ATTRIBUTION}/StartWhy`, 'a head that is not there', {
    prompt: tokens(5, 6, 7, 8),
    score: { head: { layer: 9, head: 1 }, query: 3 },
  }),
  call(`${CIRCUIT}/StartTrace`, 'neither prompts nor a data set', {}),
  call(`${JOBS}/Watch`, 'the fit to its end', { id: IDS.fit }),
  call(`${JOBS}/Watch`, 'the why to its end', { id: IDS.why }),
  call(`${JOBS}/Watch`, 'the trace to its end', { id: IDS.trace }),
  call(`${JOBS}/Watch`, 'the other why to its end', { id: jobId('attribution.why', 'why logit') }),
  call(`${JOBS}/Result`, 'of the fit', { id: IDS.fit }),
  call(`${JOBS}/Result`, 'of the why', { id: IDS.why }),
  call(`${JOBS}/Result`, 'of the trace', { id: IDS.trace }),
  call(`${JOBS}/ReadArtifact`, 'the fit’s tensors', { id: IDS.fit, name: 'qk.safetensors' }),
  call(`${JOBS}/ReadArtifact`, 'the trace’s graph', { id: IDS.trace, name: 'graph.json' }),
  call(`${JOBS}/ReadArtifact`, 'what it did not make', { id: IDS.trace, name: 'other' }),
];

const TRAININGS: readonly Call[] = [
  call(`${LORSA}/StartTrain`, 'a training', training('train')),
  call(`${LORSA}/StartTrain`, 'a layer that is not there', training('', { layer: 99 })),
  call(`${LORSA}/StartTrain`, 'a backend that is not there', training('', { backend: 'other' })),
  call(`${JOBS}/Watch`, 'the training to its end', { id: IDS.train }),
  call(`${JOBS}/Result`, 'of the training', { id: IDS.train }),
  call(`${JOBS}/ReadArtifact`, 'the checkpoint', { id: IDS.train, name: CHECKPOINT }),
  call(`${LORSA}/DescribeCheckpoint`, 'of a job', { checkpoint: IDS.train }),
  call(`${LORSA}/DescribeCheckpoint`, 'of a file', { checkpoint: CHECKPOINT }),
  call(`${LORSA}/DescribeCheckpoint`, 'that is not there', { checkpoint: 'nothing' }),
  call(
    `${LORSA}/Apply`,
    'a checkpoint on given activations, with pattern and z pattern',
    { start: { checkpoint: CHECKPOINT, z_pattern: true, pattern: true } },
    ...tensorParts('input', Math.sin),
    ...tensorParts('target', Math.cos),
  ),
  call(`${LORSA}/Apply`, 'without a start', { chunk: { data: new Uint8Array(4) } }),
  call(`${LORSA}/StartTrain`, 'a long one', training('long', { optimiser: { steps: 500_000 } })),
  call(`${JOBS}/Pause`, 'the long one', { id: IDS.long }),
  call(`${JOBS}/Get`, 'the paused one', { id: IDS.long }),
  call(`${JOBS}/Resume`, 'the long one', { id: IDS.long }),
  call(`${JOBS}/Result`, 'while it runs', { id: IDS.long }),
  call(`${JOBS}/Cancel`, 'the long one', { id: IDS.long }),
  call(`${JOBS}/Watch`, 'the long one to its end', { id: IDS.long }),
  call(`${JOBS}/Resume`, 'one that has ended', { id: IDS.long }),
  call(`${JOBS}/Pause`, 'one that has ended', { id: IDS.train }),
  call(`${JOBS}/Cancel`, 'one that has ended', { id: IDS.train }),
];

function tensorParts(name: string, value: (i: number) => number): readonly object[] {
  const data = floats(POSITIONS * D_MODEL, (i) => value(i * 0.37));
  const shape = { shape: [1, POSITIONS, D_MODEL], axes: ['batch', 'pos', 'd_model'] };
  const header = { name, dtype: 'ELEMENT_TYPE_F32', ...shape, byte_length: data.length };
  return [{ header }, { chunk: { offset: 0, data } }];
}

const BOOKS: readonly Call[] = [
  call(`${JOBS}/Get`, 'the training', { id: IDS.train }),
  call(`${JOBS}/Get`, 'by the beginning of its id', { id: IDS.fit.slice(0, 9) }),
  call(`${JOBS}/Get`, 'by a beginning of several', { id: 'lorsa' }),
  call(`${JOBS}/Get`, 'what is not there', { id: '01J0000000000000000000000Z' }),
  call(`${JOBS}/List`, 'all', {}),
  call(`${JOBS}/List`, 'one at a time', { limit: 1, kinds: ['lorsa.train'] }),
  call(`${JOBS}/List`, 'those that failed', { states: ['JOB_STATE_FAILED'] }),
  call(`${JOBS}/List`, 'trainings that succeeded', {
    kinds: ['lorsa.train'],
    states: ['JOB_STATE_SUCCEEDED'],
  }),
  call(`${JOBS}/List`, 'too many', { limit: 100_000 }),
  call(`${JOBS}/Pin`, 'the fit', { id: IDS.fit, pinned: true }),
  call(`${JOBS}/Rerun`, 'the why', { id: IDS.why, client_key: 'again' }),
  call(`${JOBS}/Watch`, 'the why again to its end', { id: jobId('attribution.why', 'again') }),
  call(`${JOBS}/Result`, 'of the why again', { id: jobId('attribution.why', 'again') }),
  call(`${JOBS}/CollectGarbage`, 'what would be freed', { dry_run: true }),
  call(`${JOBS}/CollectGarbage`, 'frees', {}),
  call(`${JOBS}/List`, 'what is left', {}),
];

/** Jobs of every fate, before the process is killed: those that end, one that fails, one that is cancelled. */
export const FATES: readonly Call[] = [
  call(`${ACTIVATION}/ImportModel`, 'a folder gets a name', { source: TINY_MODEL, name: 'tiny' }),
  ...METHOD_JOBS,
  call(`${QK}/StartFit`, 'one that fails', {
    contrasts: [contrast(2, [5], [0])],
    client_key: 'bad fit',
  }),
  call(`${LORSA}/StartTrain`, 'a short training', training('train')),
  call(`${JOBS}/Watch`, 'the fit to its end', { id: IDS.fit }),
  call(`${JOBS}/Watch`, 'the why to its end', { id: IDS.why }),
  call(`${JOBS}/Watch`, 'the trace to its end', { id: IDS.trace }),
  call(`${JOBS}/Watch`, 'the training to its end', { id: IDS.train }),
  call(`${JOBS}/Watch`, 'the bad fit to its end', { id: jobId('qk.fit', 'bad fit') }),
  call(`${JOBS}/Pin`, 'the why', { id: IDS.why, pinned: true }),
  call(`${LORSA}/StartTrain`, 'a long one', training('long', { optimiser: { steps: 500_000 } })),
  call(`${JOBS}/Cancel`, 'the long one', { id: IDS.long }),
  call(`${JOBS}/Watch`, 'the long one to its end', { id: IDS.long }),
];

/** Long enough to be paused, or killed, in the middle; then a second or two to its end. */
export const MIDWAY_STEPS = 1500;
const MIDWAY = { optimiser: { steps: MIDWAY_STEPS }, checkpoint_steps: 100 };

/** Trainings that are stopped behind their first checkpoints: the one by `Pause`, the other by `kill -9`. */
export const MIDWAY_STEPS_MIN = 300;
export const PAUSED: Call = call(`${LORSA}/StartTrain`, 'paused', training('paused', MIDWAY));
export const KILLED: Call = call(`${LORSA}/StartTrain`, 'killed', training('killed', MIDWAY));
export const PAUSED_ID: string = jobId('lorsa.train', 'paused');
export const KILLED_ID: string = jobId('lorsa.train', 'killed');
export const pauseOf = (id: string): Call => call(`${JOBS}/Pause`, 'pause', { id });
export const getOf = (id: string): Call => call(`${JOBS}/Get`, 'get', { id });

/** What is asked of a directory of then when a process has taken it over. */
export const TAKEN_OVER: readonly Call[] = [
  call(`${JOBS}/Get`, 'the paused one', { id: PAUSED_ID }),
  call(`${JOBS}/Watch`, 'the killed one to its end', { id: KILLED_ID }),
  call(`${JOBS}/Resume`, 'the paused one', { id: PAUSED_ID }),
  call(`${JOBS}/Watch`, 'the paused one to its end', { id: PAUSED_ID }),
  call(`${JOBS}/List`, 'all', {}),
  call(`${JOBS}/List`, 'the cancelled ones', { states: ['JOB_STATE_CANCELLED'] }),
  ...Object.entries(IDS).map(([name, id]) =>
    call(`${JOBS}/Get`, `the ${name} that has ended`, { id }),
  ),
  call(`${JOBS}/Get`, 'the failed one', { id: jobId('qk.fit', 'bad fit') }),
  call(`${JOBS}/Result`, 'of the fit', { id: IDS.fit }),
  call(`${JOBS}/Result`, 'of the why', { id: IDS.why }),
  call(`${JOBS}/Result`, 'of the trace', { id: IDS.trace }),
  call(`${JOBS}/Result`, 'of the training', { id: IDS.train }),
  call(`${JOBS}/Result`, 'of the paused one', { id: PAUSED_ID }),
  call(`${JOBS}/Result`, 'of the killed one', { id: KILLED_ID }),
  call(`${JOBS}/ReadArtifact`, 'the trace’s graph', { id: IDS.trace, name: 'graph.json' }),
  call(`${JOBS}/ReadArtifact`, 'the checkpoint', { id: IDS.train, name: CHECKPOINT }),
  call(`${LORSA}/DescribeCheckpoint`, 'of a job', { checkpoint: IDS.train }),
  call(`${LORSA}/StartTrain`, 'the killed one again, by its key', KILLED.requests[0] ?? {}),
  call(`${QK}/StartFit`, 'the fit again, by its key', METHOD_JOBS[0]?.requests[0] ?? {}),
  call(`${ACTIVATION}/DescribeModel`, 'the tiny model', { model: 'tiny' }),
  call(`${ACTIVATION}/ListModels`, 'both models', {}),
];

/** Every method that the first landing answered, in an order in which it makes sense. */
export const SCENARIO: readonly Call[] = [...MODELS, ...RUNS, ...METHODS, ...TRAININGS, ...BOOKS];
