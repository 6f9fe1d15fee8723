import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { TaskContext } from '@heddle/actor';
import { OrtEngine } from '@heddle/adapters/ort';
import { OperationError } from '@heddle/core';
import { readSafetensors, writeLorsaCheckpoint, writeSafetensors } from '@heddle/formats';
import {
  applyLorsa,
  type LorsaLayer,
  layerToCheckpoint,
  ownCheckpoint,
  toF32,
} from '@heddle/interp/lorsa';
import { decodeOutcome, type ModelFolder } from '@heddle/ports';
import { type Tensor, tensor, toBytes } from '@heddle/tensor';
import { MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { checkpointFiles, openCheckpoint } from '../checkpoint-files.ts';
import { syntheticLayer } from '../synthetic-layer.ts';
import { completed } from './complete-checkpoint.ts';
import { exactLayer, hostNorms, inOtherUnits, PROMPTS } from './exact-layer.ts';
import { exportFiles } from './export-files.ts';
import { type ImportRequest, importKind } from './import-job.ts';

const units = { input: 3, output: 0.05 };
const synthetic = inOtherUnits(syntheticLayer(5), units);
const norms = hostNorms(synthetic);
const engine = await OrtEngine.start({ threads: 1 });
after(() => engine.close());

type Files = Readonly<Record<string, Uint8Array>>;

function filesOf(layer: LorsaLayer): { config: Record<string, unknown>; weights: Uint8Array } {
  const { configText, weights } = writeLorsaCheckpoint(layerToCheckpoint(layer));
  return { config: JSON.parse(configText), weights };
}

const folderFiles = (config: object, weights: Uint8Array): Files => ({
  'config.json': new TextEncoder().encode(JSON.stringify(config)),
  'sae_weights.safetensors': weights,
});

/** The weights with some tensors replaced; undefined takes one out. */
function changed(weights: Uint8Array, changes: Readonly<Record<string, Tensor | undefined>>) {
  const file = readSafetensors('x', weights);
  const all = { ...Object.fromEntries(file.names().map((n) => [n, file.tensor(n)])), ...changes };
  const kept = Object.entries(all).flatMap(([n, t]) => (t ? [[n, t] as const] : []));
  return writeSafetensors(Object.fromEntries(kept), { version: '1.9.1' });
}

/** The weights with a provenance of ours in their metadata. */
function changedMetadata(weights: Uint8Array, provenance: object): Uint8Array {
  const file = readSafetensors('x', weights);
  const all = Object.fromEntries(file.names().map((n) => [n, file.tensor(n)]));
  return writeSafetensors(all, { version: '2.0.0', heddle: JSON.stringify(provenance) });
}

const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
const NORM_IN = `dataset_average_activation_norm.${synthetic.host.hookIn}`;
const NORM_OUT = `dataset_average_activation_norm.${synthetic.host.hookOut}`;

const blobs = new MemoryBlobs(new VirtualClock());
const results = new Map<string, Uint8Array>();
const folders = new Map<string, Files>();
const sources = {
  blobs,
  hub: {
    open: async (path: string): Promise<ModelFolder> => {
      const files = folders.get(path) ?? assert.fail(`no folder ${path}`);
      return {
        path,
        files: Object.keys(files),
        folders: [],
        readText: async (name) => new TextDecoder().decode(files[name]),
        open: async (name) => ({
          path: name,
          bytes: files[name]?.length ?? 0,
          read: async (from, length) => (files[name] as Uint8Array).slice(from, from + length),
          close: async () => undefined,
        }),
        realLocation: async () => assert.fail('not read as external data'),
      };
    },
  },
  jobResult: async (id: string) => results.get(id) ?? assert.fail(`no job ${id}`),
};

const activations = synthetic.activations(blobs);
const kind = importKind({
  sources,
  blobs,
  engine,
  activations,
  versions: { heddle: 'test' },
  host: async () => ({ d_model: synthetic.host.d_model, digest: 'sha256:host' }),
  gain: async () => norm,
  breathe: async () => undefined,
});

/** Of the norm that the synthetic host is said to have; its inputs are after it. */
const norm = {
  gain: Float32Array.from({ length: 16 }, (_, d) => 0.2 + d),
  bias: Float32Array.from({ length: 16 }, (_, d) => Math.sin(d)),
};

interface Summary {
  readonly normalisation: string;
  readonly fvu: number;
  readonly fvu_inference: number;
  readonly fvu_dataset_wise?: number;
  readonly decisions: readonly string[];
}

/** Imports a folder; the job's result is then known as `id`. */
async function imported(files: Files, id = 'import-1', request: Partial<ImportRequest> = {}) {
  folders.set('/in', files);
  const asked: ImportRequest = {
    checkpoint: '/in',
    model: 'host',
    data: { prompts: PROMPTS, corpus: '', tokens_max: 0, activations: '' },
    ...request,
  };
  const context: TaskContext = {
    signal: new AbortController().signal,
    attempt: 1,
    blobs,
    clock: new VirtualClock(),
    log: silentLog,
    load: async () => undefined,
    save: async () => assert.fail('an import is one piece'),
    progress: () => undefined,
    pulse: async () => undefined,
  };
  const output = await kind.run(
    { job: id, index: 0, count: 1, request: asked, input: null },
    context,
  );
  assert.ok(output.bytes);
  results.set(id, output.bytes);
  return decodeOutcome(output.bytes).summary as unknown as Summary;
}

const refusal =
  (code: string, ...words: readonly RegExp[]) =>
  (error: OperationError) => {
    assert.equal(error.code, code, error.message);
    for (const word of words) assert.match(error.message, word);
    return true;
  };

const dataset = filesOf(exactLayer(synthetic, 'dataset-wise', norms));
const folded = filesOf(exactLayer(synthetic, 'inference', norms));

test('a good checkpoint is read as it says, and works by its job id like a training’s', async () => {
  const summary = await imported(folderFiles(dataset.config, dataset.weights));

  assert.equal(summary.normalisation, 'dataset-wise');
  assert.ok(summary.fvu < 1e-9, `${summary.fvu}`);
  assert.ok(summary.fvu_inference > 0.9);
  assert.deepEqual(summary.decisions, []);
  const { layer, provenance } = await openCheckpoint(sources, 'import-1');
  assert.equal(layer.normalisation, 'dataset-wise');
  assert.deepEqual(layer.norms, {
    input: Math.fround(norms.input),
    output: Math.fround(norms.output),
  });
  assert.deepEqual([provenance['init'], provenance['model_digest']], ['import', 'sha256:host']);
});

test('with norm_activation flipped the right reading is chosen, and both numbers are recorded', async () => {
  for (const [files, flipped, right] of [
    [dataset, 'inference', 'dataset-wise'],
    [folded, 'dataset-wise', 'inference'],
  ] as const) {
    // A folded file keeps the norms that it was trained with.
    const weights = changed(files.weights, {
      [NORM_IN]: scalar(norms.input),
      [NORM_OUT]: scalar(norms.output),
    });
    const config = { ...files.config, norm_activation: flipped };
    const summary = await imported(folderFiles(config, weights));

    assert.equal(summary.normalisation, right);
    assert.ok(summary.fvu < 1e-9, `${summary.fvu}`);
    const other = right === 'inference' ? summary.fvu_dataset_wise : summary.fvu_inference;
    assert.ok((other ?? 0) > 0.9, `the other reading: ${other}`);
    assert.equal(summary.decisions.length, 1);
    assert.match(summary.decisions[0] ?? '', new RegExp(`says ${flipped}; read as ${right}`));
    const { layer } = await openCheckpoint(sources, 'import-1');
    assert.equal(layer.normalisation, right);
    assert.equal(layer.norms === undefined, right === 'inference');
  }
});

test('when neither reading fits, the import is refused with both numbers', async () => {
  const layer = exactLayer(inOtherUnits(syntheticLayer(6), units), 'dataset-wise', norms); // another host's
  const { config, weights } = filesOf(layer);
  for (const norm_activation of ['dataset-wise', 'inference']) {
    await assert.rejects(
      imported(folderFiles({ ...config, norm_activation }, weights)),
      refusal('failed_precondition', /[\d.]+ as inference/, /[\d.]+ as dataset-wise/),
    );
  }
});

test('a layer that reads before the norm’s gain is found out, and converted to read after it', async () => {
  const { attention, d_model, d_head } = synthetic.host;
  // The same function of n = (x − bias) / gain: W_pre = gain · W, b_pre = b + bias · W, in the host's units.
  const pre = (W: Tensor<'f32'>) =>
    tensor(
      'f32',
      W.shape,
      W.data.map((v, at) => v * (norm.gain[Math.floor(at / d_head) % d_model] ?? 0)),
    );
  const shifted = (b: Tensor<'f32'> | undefined, W: Tensor<'f32'>) => {
    assert.ok(b);
    const data = b.data.map((v, at) => {
      const [head, c] = [Math.floor(at / d_head), at % d_head];
      return norm.bias.reduce(
        (sum, bias, d) => sum + bias * (W.data[(head * d_model + d) * d_head + c] ?? 0),
        v,
      );
    });
    return tensor('f32', b.shape, data);
  };
  const [W_Q, W_K, W_V] = [attention.W_Q, attention.W_K, attention.W_V].map(toF32);
  const [b_Q, b_K, b_V] = [attention.b_Q, attention.b_K, attention.b_V].map((b) => b && toF32(b));
  assert.ok(W_Q && W_K && W_V);
  const reads = {
    ...{ W_Q: pre(W_Q), W_K: pre(W_K), W_V: pre(W_V) },
    ...{ b_Q: shifted(b_Q, W_Q), b_K: shifted(b_K, W_K), b_V: shifted(b_V, W_V) },
  };
  const other = {
    ...synthetic,
    host: { ...synthetic.host, attention: { ...attention, ...reads } },
  };
  // Mean norm of n over the same tokens, which a training on n would have measured.
  const rows = PROMPTS.flatMap(({ tokens }) => {
    const x = synthetic.values(tokens)[synthetic.host.hookIn]?.data ?? [];
    return tokens.flatMap((id, t) => {
      if (id === 0) return [];
      const n = norm.gain.map((g, d) => ((x[t * d_model + d] ?? 0) - (norm.bias[d] ?? 0)) / g);
      return [Math.hypot(...n)];
    });
  });
  const input = rows.reduce((a, b) => a + b, 0) / rows.length;
  for (const normalisation of ['inference', 'dataset-wise'] as const) {
    const { config, weights } = filesOf(
      exactLayer(other, normalisation, { input, output: norms.output }),
    );
    const summary = await imported(folderFiles(config, weights), 'before');

    assert.equal(summary.normalisation, normalisation);
    assert.ok(summary.fvu < 1e-6, `${summary.fvu}`);
    assert.match(summary.decisions.join(), /before its gain/);
    // What is kept reads after the gain, as everything else here does.
    const { layer } = await openCheckpoint(sources, 'before');
    const ids = PROMPTS[2]?.tokens ?? [];
    const { [layer.hookIn]: x, [layer.hookOut]: y } = synthetic.values(ids);
    assert.ok(x && y);
    const { reconstruction } = applyLorsa(layer, { ...x, shape: [1, ...x.shape] });
    const largest = y.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    reconstruction.data.forEach((value, at) => {
      assert.ok(Math.abs(value - (y.data[at] ?? Number.NaN)) < 1e-3 * largest);
    });
  }
});

test('norms that were never measured are an error of their own, unless the folded reading fits', async () => {
  const never = [Number.NaN, 0, -1, 3e-39, 1.7e30, Number.POSITIVE_INFINITY];
  for (const value of never) {
    const garbage = { [NORM_IN]: scalar(value) };
    await assert.rejects(
      imported(folderFiles(dataset.config, changed(dataset.weights, garbage))),
      refusal('failed_precondition', /norms are no measurement/, /never measured/, /as inference/),
    );
    const declared = { ...folded.config, norm_activation: 'dataset-wise' };
    const summary = await imported(folderFiles(declared, changed(folded.weights, garbage)));
    assert.equal(summary.normalisation, 'inference');
    assert.equal(summary.fvu_dataset_wise, undefined);
    assert.match(summary.decisions.join('\n'), /read as inference.*never measured/);
  }
  const gone = changed(dataset.weights, { [NORM_OUT]: undefined });
  await assert.rejects(
    imported(folderFiles(dataset.config, gone)),
    refusal('failed_precondition', /never measured/),
  );
});

test('keys that the config lacks are taken from the format, and each is said with its value', async () => {
  const { act_fn, eps, ...config } = dataset.config;
  assert.ok(act_fn === 'topk' && eps);
  folders.set('/in', folderFiles(config, dataset.weights));
  const { decisions } = completed(await checkpointFiles(sources, '/in'));
  assert.deepEqual(
    decisions.map(({ what }) => what),
    ['missing-keys'],
  );
  assert.match(decisions[0]?.text ?? '', /lacks .*act_fn relu.*eps 0\.000001/);
});

test('unknown keys, missing buffers and repeated heads each get their own recorded decision', async () => {
  const config = { ...dataset.config, skip_bos: true, old_flag: 1 };
  const bare = changed(dataset.weights, {
    mask: undefined,
    IGNORE: undefined,
    rotary_sin: undefined,
    rotary_cos: undefined,
  });
  const { decisions } = await imported(folderFiles(config, bare));
  assert.equal(decisions.length, 2);
  assert.match(decisions[0] ?? '', /skip_bos, old_flag/);
  assert.match(decisions[1] ?? '', /mask .*IGNORE.*rotary_.*rotary_/);
  const whole = await checkpointFiles(sources, 'import-1');
  for (const name of ['mask', 'IGNORE', 'rotary_cos', 'rotary_sin']) {
    assert.ok(whole.weights.names().includes(name), name);
  }

  // Both heads of the host the same: then one of them in the file is enough.
  const file = readSafetensors('x', dataset.weights);
  const first = (name: string) => {
    const t = file.tensor(name) as Tensor<'f32'>;
    const [heads = 0, ...rest] = t.shape;
    return tensor('f32', [1, ...rest], t.data.slice(0, t.data.length / heads));
  };
  const halves = Object.fromEntries(['W_Q', 'W_K', 'b_Q', 'b_K'].map((n) => [n, first(n)]));
  folders.set('/in', folderFiles(dataset.config, changed(dataset.weights, halves)));
  const complete = completed(await checkpointFiles(sources, '/in'));
  assert.deepEqual(
    complete.decisions.map(({ what }) => what),
    ['repeated-heads'],
  );
  const repeated = complete.tensors['W_Q'];
  assert.deepEqual(repeated?.shape, file.tensor('W_Q').shape);
  const size = (repeated?.data.length ?? 0) / 2;
  assert.deepEqual(repeated?.data.slice(0, size), repeated?.data.slice(size));
});

test('a host that only the file names, and another than it names, are each said', async () => {
  const weights = changedMetadata(dataset.weights, {
    model: '/their/gpt2',
    model_digest: 'sha256:their',
  });
  const { decisions } = await imported(folderFiles(dataset.config, weights));
  assert.match(decisions.join(), /made on another host .*their/);

  const lost = new OperationError({ code: 'not_found', message: '/their/gpt2: no such folder' });
  const elsewhere = importKind({
    ...{ sources, blobs, engine, activations, versions: {}, breathe: async () => undefined },
    host: async () => Promise.reject(lost),
    gain: async () => norm,
  });
  folders.set('/in', folderFiles(dataset.config, weights));
  const data = { prompts: PROMPTS, corpus: '', tokens_max: 0, activations: '' };
  const request = { checkpoint: '/in', model: '', data };
  await assert.rejects(
    elsewhere.run({ job: 'j', index: 0, count: 1, request, input: null }, {} as TaskContext),
    refusal('not_found', /names its host \/their\/gpt2.*--model/),
  );
});

test('a text too short to tell anything is refused instead of judged by', async () => {
  const data = { prompts: PROMPTS.slice(0, 1), corpus: '', tokens_max: 0, activations: '' };
  await assert.rejects(
    imported(folderFiles(dataset.config, dataset.weights), 'short', { data }),
    refusal('failed_precondition', /has \d+ tokens that count; at least 32/),
  );
});

test('a parameter that is missing, a wrong mask and another d_model are refused by name', async () => {
  const without = (changes: Record<string, Tensor | undefined>) =>
    imported(folderFiles(dataset.config, changed(dataset.weights, changes)));
  await assert.rejects(without({ W_V: undefined }), refusal('invalid_argument', /lacks W_V/));
  const { n_ctx } = synthetic.host;
  const full = tensor('bool', [n_ctx, n_ctx], new Uint8Array(n_ctx * n_ctx).fill(1));
  await assert.rejects(without({ mask: full }), refusal('invalid_argument', /mask is not causal/));
  await assert.rejects(
    without({ extra: scalar(1) }),
    refusal('invalid_argument', /extra does not belong/),
  );
  const other = importKind({
    ...{ sources, blobs, engine, activations, versions: {}, breathe: async () => undefined },
    host: async () => ({ d_model: 99, digest: '' }),
    gain: async () => norm,
  });
  folders.set('/in', folderFiles(dataset.config, dataset.weights));
  const request = {
    checkpoint: '/in',
    model: 'm',
    data: { prompts: PROMPTS, corpus: '', tokens_max: 0, activations: '' },
  };
  await assert.rejects(
    other.run({ job: 'j', index: 0, count: 1, request, input: null }, {} as TaskContext),
    refusal('invalid_argument', /d_model is 16, that of m is 99/),
  );
});

test('exported and imported again, every tensor has the same bytes, whatever its dtype', async () => {
  const half = tensor('bf16', [32], new Uint16Array(32).fill(0x3f80));
  for (const weights of [dataset.weights, changed(dataset.weights, { b_V: half })]) {
    folders.set('/in', folderFiles({ ...dataset.config }, weights));
    const exported = exportFiles(await checkpointFiles(sources, '/in'), false);
    const files = Object.fromEntries(exported.map(({ name, content }) => [name, content]));
    if (weights === dataset.weights) await imported(files, 'again');
    else folders.set('/again', files);
    const again = await checkpointFiles(sources, weights === dataset.weights ? 'again' : '/again');
    const before = readSafetensors('x', weights);

    assert.deepEqual([...again.weights.names()].sort(), [...before.names()].sort());
    for (const name of before.names()) {
      const [a, b] = [before.tensor(name), again.weights.tensor(name)];
      assert.deepEqual([b.dtype, b.shape], [a.dtype, a.shape], name);
      assert.deepEqual(toBytes(b), toBytes(a), name);
    }
    assert.deepEqual(JSON.parse(again.configText), dataset.config);
  }
});

test('folded, the export takes the host’s units, says inference, and still knows what it folded', async () => {
  await imported(folderFiles(dataset.config, dataset.weights));
  const exported = exportFiles(await checkpointFiles(sources, 'import-1'), true);
  const files = Object.fromEntries(exported.map(({ name, content }) => [name, content]));
  assert.equal(
    JSON.parse(new TextDecoder().decode(files['config.json'])).norm_activation,
    'inference',
  );
  const { metadata } = readSafetensors('x', files['sae_weights.safetensors'] as Uint8Array).header;
  assert.deepEqual(Object.keys(JSON.parse(metadata.get('heddle') ?? '{}').folded), [
    'input',
    'output',
  ]);
  folders.set('/folded', files);
  const original = await openCheckpoint(sources, 'import-1');
  const opened = await openCheckpoint(sources, '/folded');

  const ids = PROMPTS[3]?.tokens ?? [];
  const x = synthetic.values(ids)[synthetic.host.hookIn] as Tensor<'f32'>;
  const batched = { ...x, shape: [1, ...x.shape] };
  const [a, b] = [original, opened].map(
    ({ layer }) => applyLorsa(layer, batched).reconstruction.data,
  );
  assert.ok(a && b);
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  a.forEach((value, at) => {
    assert.ok(Math.abs(value - (b[at] ?? Number.NaN)) <= 1e-5 * largest);
  });
  const summary = await imported(files, 'folded');
  assert.deepEqual([summary.normalisation, summary.decisions], ['inference', []]);
});

test('a signed layer and a normalisation without one scale are refused, each with its reason', async () => {
  const exact = exactLayer(synthetic, 'inference', norms);
  const signed = { ...exact, config: { ...exact.config, signed: true } };
  const own = writeLorsaCheckpoint(ownCheckpoint(signed));
  folders.set('/signed', folderFiles(JSON.parse(own.configText), own.weights));
  const files = await checkpointFiles(sources, '/signed');
  assert.throws(() => exportFiles(files, false), refusal('failed_precondition', /signed/));

  const tokenWise = filesOf({ ...exact, normalisation: 'token-wise' });
  folders.set('/token', folderFiles(tokenWise.config, tokenWise.weights));
  const each = await checkpointFiles(sources, '/token');
  assert.throws(() => exportFiles(each, true), refusal('failed_precondition', /cannot be folded/));
  assert.equal(exportFiles(each, false).length, 2);
});
