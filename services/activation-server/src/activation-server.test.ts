import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { folderHub, loadConfig, loadModel, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import type { OperationError } from '@heddle/core';
import type { CallContext, Handlers, Init } from '@heddle/ports';
import { type LabelledTensor, TensorCollector } from '@heddle/ports';
import type { ActivationService, RunRequest, RunResponse } from '@heddle/ports/proto/activation';
import { widenF16 } from '@heddle/tensor';
import { CountingMetrics, MemoryJournal, silentLog, temporaryFolder } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { ACTIVATION_METRICS, createService } from './index.ts';

const SIZES = { n_layer: 12, n_head: 4, n_embd: 64, vocab_size: 100, n_positions: 128 };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let engine: OrtEngine;
let activation: Handlers<ActivationService>;
const metrics = new CountingMetrics();

before(async () => {
  folder = await temporaryFolder();
  await writeRandomModel(join(folder.path, 'random'), gpt2Config(SIZES), 1);
  engine = await OrtEngine.start();
  activation = await serve(engine);
});

after(async () => {
  await engine.close();
  await folder.remove();
});

async function serve(on: OrtEngine): Promise<Handlers<ActivationService>> {
  const service = await createService({
    engine: on,
    hub: folderHub({ roots: [folder.path] }),
    store: { config: loadConfig, load: loadModel, program: programOf },
    openTokenizer: async () => undefined,
    journal: new MemoryJournal({ clock: systemClock }),
    blobs: {} as never, // passes over a corpus have tests of their own
    jobs: {} as never,
    clock: systemClock,
    log: silentLog,
    metrics,
    bundledModel: join(folder.path, 'random'),
    versions: { heddle: '0' },
  });
  return service.handlers.activation ?? {};
}

const call = (signal = new AbortController().signal): CallContext => ({
  signal,
  log: silentLog,
  method: 'heddle.activation.v1.ActivationService/Run',
});

const request = (changes: Partial<RunRequest>): RunRequest => ({
  model: '',
  prompts: [],
  options: null,
  hooks: [],
  positions: [],
  dtype: 'ELEMENT_TYPE_UNSPECIFIED',
  interventions: [],
  gradient: '',
  alone: false,
  loss_per_token: false,
  ...changes,
});

const prompt = (...ids: number[]) => ({ id: '', tokens: { ids } });
const counting = (length: number, from = 0) =>
  prompt(...Array.from({ length }, (_, i) => (from + i) % 100));

interface Reply {
  readonly parts: readonly Init<RunResponse>[];
  readonly tensors: ReadonlyMap<string, LabelledTensor['tensor']>;
}

async function run(changes: Partial<RunRequest>, handlers = activation): Promise<Reply> {
  const parts: Init<RunResponse>[] = [];
  const tensors = new Map<string, LabelledTensor['tensor']>();
  const collector = new TensorCollector(2 ** 30);
  const stream = handlers.Run?.(request(changes), call());
  for await (const part of stream ?? []) {
    parts.push(part);
    const done = collector.add(part as RunResponse);
    if (done) tensors.set(`p${done.label.prompt}/${done.label.name}`, done.tensor);
  }
  collector.end();
  return { parts, tensors };
}

const refuses = async (
  changes: Partial<RunRequest>,
  code: string,
  field: string | undefined,
  words: RegExp,
): Promise<void> => {
  await assert.rejects(run(changes), (error: OperationError) => {
    assert.equal(error.code, code, error.message);
    assert.equal(error.field, field, error.message);
    assert.match(error.message, words);
    return true;
  });
};

const floats = (reply: Reply, name: string): Float32Array => {
  const found = reply.tensors.get(name);
  assert.ok(found, `${name} among ${[...reply.tensors.keys()]}`);
  return found.data as Float32Array;
};

const largestDifference = (a: Float32Array, b: Float32Array): number => {
  assert.equal(a.length, b.length);
  return a.reduce((largest, x, i) => Math.max(largest, Math.abs(x - (b[i] ?? Number.NaN))), 0);
};

test('a run streams every hook of every prompt, in order, without padding', async () => {
  const reply = await run({
    prompts: [counting(5), counting(7)],
    hooks: ['blocks.0.attn.hook_pattern', 'blocks.1.hook_resid_pre', 'logits'],
  });

  const start = reply.parts[0]?.start;
  const shapes = [...reply.tensors].map(([name, { shape }]) => [name, [...shape]]);
  assert.deepEqual(start?.hooks, [
    'blocks.0.attn.hook_pattern',
    'blocks.1.hook_resid_pre',
    'logits',
  ]);
  assert.deepEqual(shapes, [
    ['p0/blocks.0.attn.hook_pattern', [4, 5, 5]],
    ['p0/blocks.1.hook_resid_pre', [5, 64]],
    ['p0/logits', [5, 100]],
    ['p1/blocks.0.attn.hook_pattern', [4, 7, 7]],
    ['p1/blocks.1.hook_resid_pre', [7, 64]],
    ['p1/logits', [7, 100]],
  ]);
  const bytes = [...reply.tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  assert.equal(start?.byte_length, bytes);
});

test('the end says what the values were made from', async () => {
  const { parts } = await run({ prompts: [counting(4)], hooks: ['logits'] });

  const provenance = parts.at(-1)?.end?.provenance;
  assert.match(provenance?.model_digest ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.match(provenance?.program_digest ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(JSON.parse(provenance?.request_json ?? '').hooks, ['logits']);
  assert.ok(provenance?.versions?.some(({ component }) => component === 'onnxruntime-node'));
});

test("a prompt's values do not depend on its batch mates beyond 2e-6", async () => {
  const hooks = ['blocks.*.attn.hook_z', 'blocks.11.hook_resid_post', 'logits'];
  const alone = await run({ prompts: [counting(21)], hooks });
  const mates = Array.from({ length: 7 }, (_, i) => counting(17 + (i % 4), 31 * i));

  const together = await run({ prompts: [...mates, counting(21)], hooks });

  for (const name of alone.tensors.keys()) {
    const own = floats(alone, name);
    const scale = own.reduce((largest, x) => Math.max(largest, Math.abs(x)), 1);
    const other = floats(together, name.replace('p0/', 'p7/'));
    assert.ok(largestDifference(own, other) <= 2e-6 * scale, name);
  }
});

test('prompts of several callers that wait together share batches', async () => {
  const before = metrics.value('activation_batch_prompts');

  await Promise.all(
    Array.from({ length: 24 }, () => run({ prompts: [counting(9)], hooks: ['hook_embed'] })),
  );

  assert.ok(metrics.value('activation_batch_prompts') - before <= 8, 'batches for 24 calls');
});

test('the pass of a job gives the same bits whoever else is there', async () => {
  const pass = { prompts: [counting(11), counting(12, 3)], hooks: ['logits'], alone: true };
  const quiet = await run(pass);
  const others = Array.from({ length: 6 }, (_, i) =>
    run({ prompts: [counting(12, i), counting(11, i)], hooks: ['logits'] }),
  );

  const busy = await run(pass);

  await Promise.all(others);
  for (const name of quiet.tensors.keys()) {
    assert.deepEqual(floats(busy, name), floats(quiet, name));
  }
});

test('positions give those rows and no others, of logits too', async () => {
  const hooks = ['blocks.2.attn.hook_pattern', 'blocks.2.attn.hook_k', 'logits'];
  const all = await run({ prompts: [counting(6)], hooks });

  const some = await run({ prompts: [counting(6)], hooks, positions: [1, 4] });

  assert.deepEqual(some.tensors.get('p0/blocks.2.attn.hook_pattern')?.shape, [4, 2, 6]);
  const rows = (name: string, width: number) =>
    [1, 4].flatMap((p) => [...floats(all, name).subarray(p * width, (p + 1) * width)]);
  assert.deepEqual(
    [...floats(some, 'p0/blocks.2.attn.hook_k')],
    rows('p0/blocks.2.attn.hook_k', 64),
  );
  const logits = Float32Array.from(rows('p0/logits', 100));
  assert.ok(largestDifference(floats(some, 'p0/logits'), logits) <= 2e-6);
});

test('half precision on request is the fp32 value rounded', async () => {
  const hooks = ['blocks.0.hook_mlp_out'];
  const full = await run({ prompts: [counting(6)], hooks });

  const half = await run({ prompts: [counting(6)], hooks, dtype: 'ELEMENT_TYPE_F16' });

  const bits = half.tensors.get('p0/blocks.0.hook_mlp_out');
  assert.equal(bits?.dtype, 'f16');
  const error = largestDifference(
    widenF16(bits?.data as Uint16Array),
    floats(full, 'p0/blocks.0.hook_mlp_out'),
  );
  assert.ok(error > 0 && error < 1e-3);
});

const inline = (shape: number[], values: number[]) => ({
  dtype: 'ELEMENT_TYPE_F32' as const,
  shape,
  data: new Uint8Array(Float32Array.from(values).buffer),
});

const change = (changes: object) => ({
  hook: 'blocks.3.attn.hook_z',
  kind: 'INTERVENTION_KIND_ZERO' as const,
  positions: [],
  heads: [],
  prompts: [],
  value: null,
  factor: 0,
  ...changes,
});

test('each kind of intervention changes what it selects and nothing else', async () => {
  const hook = 'blocks.3.attn.hook_z';
  const prompts = [counting(5), counting(7)];
  const plain = await run({ prompts, hooks: [hook] });
  const expected: Record<string, (x: number, j: number) => number> = {
    INTERVENTION_KIND_ADD: (x, j) => x + j,
    INTERVENTION_KIND_REPLACE: (_, j) => j,
    INTERVENTION_KIND_SCALE: (x) => 3 * x,
    INTERVENTION_KIND_ZERO: () => 0,
  };
  const value = inline(
    [16],
    Array.from({ length: 16 }, (_, j) => j),
  );
  for (const [kind, formula] of Object.entries(expected)) {
    const selection = { kind, hook, positions: [1, 3], heads: [2], prompts: [1], factor: 3, value };

    const changed = await run({ prompts, hooks: [hook], interventions: [change(selection)] });

    assert.deepEqual(floats(changed, `p0/${hook}`), floats(plain, `p0/${hook}`), kind);
    const want = floats(plain, `p1/${hook}`).map((x, i) => {
      const [pos, head, j] = [Math.floor(i / 64), Math.floor(i / 16) % 4, i % 16];
      return (pos === 1 || pos === 3) && head === 2 ? Math.fround(formula(x, j)) : x;
    });
    assert.ok(largestDifference(floats(changed, `p1/${hook}`), want) < 1e-5, kind);
  }
});

test('values that leave the range of their type fail their own prompt with the place, not its batch mates', async () => {
  const prompts = [counting(5), counting(6)];
  const huge = (factor: number) =>
    change({ hook: 'hook_embed', kind: 'INTERVENTION_KIND_SCALE', factor, prompts: [0] });
  const hooks = ['hook_embed'];
  const mate = run({ prompts: [counting(5)], hooks });
  const code = 'out_of_range';
  const twice = [huge(1e30), huge(1e30)];

  await refuses({ prompts, hooks, interventions: twice }, code, 'hooks', /leave fp32/);
  const half = { prompts, hooks, interventions: [huge(1e9)], dtype: 'ELEMENT_TYPE_F16' as const };
  await refuses(half, code, 'hooks', /ask for ELEMENT_TYPE_F32/);

  assert.equal((await mate).tensors.size, 1);
});

test('a value for scores is laid out by head, query and key, also in a padded batch', async () => {
  const hook = 'blocks.0.attn.hook_attn_scores';
  const values = Array.from({ length: 2 * 1 * 5 }, (_, i) => i);
  const replace = change({
    hook,
    kind: 'INTERVENTION_KIND_REPLACE',
    heads: [0, 3],
    positions: [4],
    prompts: [0],
    value: inline([2, 1, 5], values),
  });

  const reply = await run({
    prompts: [counting(5), counting(8)],
    hooks: [hook],
    interventions: [replace],
  });

  const scores = floats(reply, `p0/${hook}`);
  assert.deepEqual([...scores.subarray(20, 25)], [0, 1, 2, 3, 4]);
  assert.deepEqual([...scores.subarray(3 * 25 + 20, 3 * 25 + 25)], [5, 6, 7, 8, 9]);
});

test('new numbers of an intervention need no new session', async () => {
  const steer = (factor: number) =>
    run({
      prompts: [counting(6)],
      hooks: ['blocks.5.hook_resid_post'],
      interventions: [
        change({ hook: 'blocks.2.hook_resid_pre', kind: 'INTERVENTION_KIND_SCALE', factor }),
      ],
    });
  await steer(1);
  const { misses } = await engine.usage();

  for (let i = 0; i < 20; i++) await steer(i / 7);

  assert.equal((await engine.usage()).misses, misses);
});

test('gradients come under the names and in the shapes of the values, and the provenance says that they are', async () => {
  const hooks = ['blocks.0.attn.hook_attn_scores', 'blocks.3.hook_resid_pre', 'logits'];
  const asked = { prompts: [counting(5), counting(7)], hooks, positions: [1, 3] };
  const values = await run(asked);
  const gradient = 'logit[-2, id:7] - 0.5 * logprob[1, id:3]';

  const gradients = await run({ ...asked, gradient });

  const shapes = (reply: Reply) => [...reply.tensors].map(([name, { shape }]) => [name, shape]);
  assert.deepEqual(shapes(gradients), shapes(values));
  for (const [name, { data }] of gradients.tensors) {
    const largest = (data as Float32Array).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    assert.ok(largest > 0 && Number.isFinite(largest), name);
  }
  const { provenance } = gradients.parts.at(-1)?.end ?? {};
  assert.equal(JSON.parse(provenance?.request_json ?? '').gradient, gradient);
  const digest = values.parts.at(-1)?.end?.provenance?.program_digest;
  assert.notEqual(provenance?.program_digest, digest);
});

test("a layer-0 hook opens no other block's session and takes a fifth of the full run", async () => {
  const own = await OrtEngine.start();
  const handlers = await serve(own);
  const prompts = Array.from({ length: 8 }, () => counting(128));
  const timed = async (hook: string): Promise<number> => {
    const { parts } = await run({ prompts, hooks: [hook], positions: [0] }, handlers);
    return parts.at(-1)?.end?.run_ms ?? Number.NaN;
  };
  await timed('blocks.0.hook_resid_post');
  const { sessionsOpen } = await own.usage();
  await timed('blocks.11.hook_resid_post');

  // In turns, and the least of each: a neighbour on the machine disturbs both alike.
  let [first, all] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < 12; i++) {
    first = Math.min(first, await timed('blocks.0.hook_resid_post'));
    all = Math.min(all, await timed('blocks.11.hook_resid_post'));
  }
  await own.close();

  assert.equal(sessionsOpen, 2, 'the embedding and block 0');
  assert.ok(first <= 0.2 * all, `${first} ms of ${all} ms`);
});

test('what a request gets wrong is told by field, limit and what to do', async () => {
  const good = { prompts: [counting(4)], hooks: ['logits'] };
  const code = 'invalid_argument';
  await refuses({ ...good, prompts: [] }, code, 'prompts', /1 to 1024/);
  await refuses({ ...good, hooks: [] }, code, 'hooks', /1 to 4096/);
  await refuses({ ...good, hooks: ['blocks.12.hook_mlp_out'] }, code, 'hooks[0]', /layers 0 to 11/);
  await refuses({ ...good, hooks: ['logits', 'blocks.0.nothing'] }, code, 'hooks[1]', /nothing/);
  await refuses({ ...good, prompts: [prompt()] }, code, 'prompts[0]', /no token/);
  await refuses(
    { ...good, prompts: [prompt(1, 100)] },
    code,
    'prompts[0].tokens.ids[1]',
    /0 to 99/,
  );
  await refuses({ ...good, prompts: [counting(129)] }, code, 'prompts[0]', /at most 128/);
  await refuses(
    { ...good, prompts: [{ id: '', text: 'hello' }] },
    code,
    'prompts[0].text',
    /token ids/,
  );
  await refuses({ ...good, positions: [4] }, code, 'positions[0]', /0 to 3/);
  await refuses({ ...good, positions: [2, 1] }, code, 'positions[1]', /ascend/);
  await refuses({ ...good, dtype: 'ELEMENT_TYPE_I64' }, code, 'dtype', /F16/);
  await assert.rejects(run({ ...good, model: '/nowhere' }), /nowhere/);
  await refuses({ ...good, gradient: 'logits[' }, code, 'gradient', /expected/);
  await refuses({ ...good, gradient: 'logits[4,0]' }, code, 'gradient', /-4 to 3/);
  await refuses({ ...good, gradient: 'logits[0,0] nothing' }, code, 'gradient', /expected/);
});

test('an intervention that cannot be is told by field', async () => {
  const good = { prompts: [counting(4)], hooks: ['logits'] };
  const wrong = (changes: object, field: string, words: RegExp) =>
    refuses(
      { ...good, interventions: [change(changes)] },
      'invalid_argument',
      `interventions[0].${field}`,
      words,
    );
  const add = { kind: 'INTERVENTION_KIND_ADD' };
  await wrong({ kind: 'INTERVENTION_KIND_UNSPECIFIED' }, 'kind', /no kind/);
  await wrong({ hook: 'blocks.*.attn.hook_z' }, 'hook', /no glob/);
  await wrong({ hook: 'logits' }, 'hook', /read only/);
  await wrong({ heads: [4] }, 'heads[0]', /0 to 3/);
  await wrong({ hook: 'blocks.0.hook_mlp_out', heads: [0] }, 'heads', /no heads/);
  await wrong({ prompts: [1] }, 'prompts[0]', /0 to 0/);
  await wrong({ positions: [9] }, 'positions[0]', /0 to 3/);
  await wrong(add, 'value', /missing/);
  await wrong({ ...add, value: inline([2], [1, Number.NaN]) }, 'value', /element 1 is NaN/);
  await wrong({ ...add, value: inline([5], [1, 2, 3, 4, 5]) }, 'value', /does not broadcast/);
  await wrong({ kind: 'INTERVENTION_KIND_SCALE', factor: Number.NaN }, 'factor', /finite/);
});

test('a request past the limit is refused with the estimate before anything runs', async () => {
  const prompts = Array.from({ length: 1024 }, () => counting(128));
  const usage = await engine.usage();

  await assert.rejects(run({ prompts, hooks: ['*'] }), (error: OperationError) => {
    assert.equal(error.code, 'resource_exhausted');
    assert.equal(error.field, 'hooks');
    assert.ok((error.details['estimate'] as number) > (error.details['limit'] as number));
    return true;
  });
  assert.deepEqual(await engine.usage(), usage);
});

test('a caller that goes away frees the engine for the next', async () => {
  const controller = new AbortController();
  const prompts = Array.from({ length: 64 }, () => counting(128));
  const stream = activation.Run?.(
    request({ prompts, hooks: ['*.hook_z'] }),
    call(controller.signal),
  );
  const reading = (async () => {
    for await (const part of stream ?? []) if (part.start) controller.abort();
  })();

  await assert.rejects(
    reading,
    (error: Error) => error.name === 'AbortError' || /withdrawn|cancel/.test(error.message),
  );
  const next = await run({ prompts: [counting(3)], hooks: ['hook_embed'] });
  assert.equal(next.tensors.size, 1);
});

test('models are imported under a name, listed, described and forgotten', async () => {
  const source = join(folder.path, 'random');
  const context = call();

  const imported = await activation.ImportModel?.({ source, name: 'mine' }, context);
  const again = await activation.ImportModel?.({ source, name: 'mine' }, context);
  const listed = await activation.ListModels?.({}, context);
  const named = await run({ model: 'mine', prompts: [counting(3)], hooks: ['hook_embed'] });
  await activation.RemoveModel?.({ name: 'mine' }, context);

  assert.equal(imported?.model?.n_layers, 12);
  assert.equal(again?.model?.imported_ms, imported?.model?.imported_ms);
  assert.deepEqual(
    listed?.models?.map((model) => model.name),
    ['bundled', 'mine'],
  );
  assert.equal(named.tensors.size, 1);
  const forgotten = run({ model: 'mine', prompts: [counting(3)], hooks: ['logits'] });
  await assert.rejects(forgotten, /mine/);
});

test('a name that another model has is refused, and so is one that is no name', async () => {
  const source = join(folder.path, 'random');
  await writeRandomModel(join(folder.path, 'other'), gpt2Config({ ...SIZES, n_layer: 1 }), 2);
  const context = call();
  await activation.ImportModel?.({ source, name: 'taken' }, context);

  const add = (from: string, name: string) =>
    activation.ImportModel?.({ source: from, name }, context) ?? Promise.resolve();

  await assert.rejects(add(join(folder.path, 'other'), 'taken'), /already/);
  await assert.rejects(add(source, '../x'), /no name for a model/);
});

test('what is recorded is what the catalogue says', async () => {
  await run({ prompts: [counting(3)], hooks: ['hook_embed'] });

  const recorded = await metrics.text();
  const mine = ACTIVATION_METRICS.filter(({ name }) => !name.startsWith('activation_cache'));
  const silent = mine.filter(({ name }) => !recorded.includes(name));
  assert.deepEqual(silent, []);
});
