import {
  type JobKind,
  outcomeWithFiles,
  type Task,
  type TaskContext,
  type TaskOutput,
} from '@heddle/actor';
import { invalidArgument, type Json, notFound, OperationError } from '@heddle/core';
import {
  type LorsaConfigJson,
  readLorsaCheckpoint,
  readSafetensors,
  writeLorsaConfigJson,
  writeSafetensors,
} from '@heddle/formats';
import { type LorsaLayer, layerFromCheckpoint } from '@heddle/interp/lorsa';
import { type Engine, engineVersions } from '@heddle/ports';
import { type Tensor, widenBf16, widenF16 } from '@heddle/tensor';
import {
  type CheckpointFiles,
  type CheckpointSources,
  checkpointFiles,
  fileProvenance,
  ownMetadata,
} from '../checkpoint-files.ts';
import { digestOfTensors } from '../programs.ts';
import type { DataRequest } from '../train-request.ts';
import { afterGain, beforeGain, type NormGain, tellsApart } from './before-gain.ts';
import {
  type CompletedCheckpoint,
  completed,
  type Decision,
  NORM_PREFIX,
} from './complete-checkpoint.ts';
import { type HostSample, hostSample, type SampleDeps } from './host-sample.ts';
import { BEFORE_GAIN_SHARE, FVU_TIE } from './limits.ts';
import {
  type Check,
  checkReadings,
  checkTokens,
  choose,
  type Fit,
  fitting,
  neitherFits,
  type Reading,
  showFits,
} from './self-check.ts';

/** An import as it was asked for, in JSON. */
export type ImportRequest = {
  readonly checkpoint: string;
  /** Empty: the one that the file names, else the default model. */
  readonly model: string;
  readonly data: DataRequest;
};

/** A host, as far as an import must know it. */
export interface ImportHost {
  readonly d_model: number;
  readonly digest: string;
}

export interface ImportDeps extends SampleDeps {
  readonly sources: CheckpointSources;
  readonly engine: Engine;
  readonly host: (model: string) => Promise<ImportHost>;
  /** Of the norm before a layer's attention. */
  readonly gain: (model: string, layer: number) => Promise<NormGain>;
  readonly versions: Readonly<Record<string, string>>;
  readonly breathe: () => Promise<void>;
}

/** The kind `lorsa.import`: reads a published checkpoint, checks it against its host, keeps it as a training's result is kept. */
export function importKind(deps: ImportDeps): JobKind {
  return {
    kind: 'lorsa.import',
    limits: { concurrency: 1 },
    split: () => [{ input: null }],
    run: (task, context) => runImport(deps, task, context),
  };
}

async function runImport(deps: ImportDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const request = task.request as unknown as ImportRequest;
  const files = await checkpointFiles(deps.sources, request.checkpoint);
  const complete = completed(files);
  const layer = layerAsFolded(complete, files);
  // What the file says of itself, without what it says of the file that it was imported from: round trips do not nest.
  const { origin: _before, ...origin } = fileProvenance(files.weights);
  const model = request.model || String(origin['model'] ?? '');
  const host = await hostOf(deps, request, model);
  if (host.d_model !== layer.config.d_model) {
    throw invalidArgument(
      `the checkpoint's d_model is ${layer.config.d_model}, that of ${model || 'the default model'} is ${host.d_model}: name its host with --model`,
      { field: 'model' },
    );
  }
  const tokens = checkTokens(layer);
  const sample = await hostSample(deps, context, { model, layer, data: request.data, tokens });
  const { provider } = await deps.engine.report();
  // Only ONNX Runtime's CPU kernels compute in double.
  const engine = provider === 'cpu' ? deps.engine : undefined;
  const on = { engine, signal: context.signal, breathe: deps.breathe };
  const declared = declaredReading(complete);
  const after = await checkReadings(on, layer, declared, sample);
  const norm = await normBefore(deps, model, layer);
  const before = norm && (await checkReadings(on, layer, declared, beforeGain(sample, norm)));
  const found = { request, model, host, files, origin, sample };
  if (norm === undefined || before === undefined || !readsBefore(before, after)) {
    if (fitting(after).length === 0) throw neitherFits(after, before);
    return kept(deps, context, { ...found, complete, check: after, fit: choose(after) });
  }
  const fit = choose(before);
  const converted = convertedTensors(complete, afterGain({ ...layer, ...fit }, norm), after);
  return kept(deps, context, { ...found, complete: converted, check: before, fit });
}

/** Whether the input is rather the norm before its gain: on the same tokens, clearly better. */
function readsBefore(before: Check, after: Check): boolean {
  const best = ({ fits }: Check) => Math.min(...fits.map(({ fvu }) => fvu));
  return fitting(before).length > 0 && best(before) < best(after) * BEFORE_GAIN_SHARE - FVU_TIE;
}

/** Errors: `not_found`, saying so where only the file names a host, by its maker's name or path. */
async function hostOf(
  deps: ImportDeps,
  request: ImportRequest,
  model: string,
): Promise<ImportHost> {
  try {
    return await deps.host(model);
  } catch (thrown) {
    const error = OperationError.from(thrown);
    if (request.model !== '' || model === '' || error.code !== 'not_found') throw thrown;
    throw notFound(`the file names its host ${model}, which is not here: name it with --model`, {
      field: 'model',
      cause: error,
    });
  }
}

/** The norm that the layer reads behind, where that is what its input hook names. */
async function normBefore(
  deps: ImportDeps,
  model: string,
  { hookIn }: LorsaLayer,
): Promise<NormGain | undefined> {
  const layer = /^blocks\.(\d+)\.ln1\.hook_normalized$/.exec(hookIn)?.[1];
  if (layer === undefined) return undefined;
  const norm = await deps.gain(model, Number(layer));
  return tellsApart(norm) ? norm : undefined;
}

/** What reads the input in the file, replaced by what reads it after the norm's gain. */
function convertedTensors(
  complete: CompletedCheckpoint,
  layer: LorsaLayer,
  after: Check,
): CompletedCheckpoint {
  const { W_Q, W_K, W_V, b_Q, b_K, b_V } = layer.weights;
  const text = `hook_point_in is the norm before its gain in the file: W_Q, W_K, W_V and their biases are converted to read after it, as the host’s own weights do (read as after it: ${showFits(after)})`;
  return {
    ...complete,
    tensors: { ...complete.tensors, W_Q, W_K, W_V, b_Q, b_K, b_V },
    decisions: [...complete.decisions, { what: 'before-gain', text }],
  };
}

/** The layer of the completed file, read strictly, with the units left open. */
function layerAsFolded(
  { config, tensors }: CompletedCheckpoint,
  files: CheckpointFiles,
): LorsaLayer {
  const { file } = files.weights.header;
  const folded = writeLorsaConfigJson({ ...config, norm_activation: 'inference' });
  const bytes = writeSafetensors(tensors);
  return layerFromCheckpoint(readLorsaCheckpoint(folded, readSafetensors(file, bytes)));
}

function declaredReading({ config, tensors }: CompletedCheckpoint): Reading {
  const norm = (hook: string) => scalarOf(tensors[NORM_PREFIX + hook]);
  return {
    normalisation: config.norm_activation,
    norms: { input: norm(config.hook_point_in), output: norm(config.hook_point_out) },
  };
}

/** A norm as stored, whatever its dtype; NaN for what is no number at all. */
function scalarOf(t: Tensor | undefined): number {
  if (t?.data.length !== 1) return Number.NaN;
  if (t.dtype === 'f16') return widenF16(t.data as Uint16Array)[0] ?? Number.NaN;
  if (t.dtype === 'bf16') return widenBf16(t.data as Uint16Array)[0] ?? Number.NaN;
  return Number(t.data[0]);
}

interface Found {
  readonly request: ImportRequest;
  readonly model: string;
  readonly host: ImportHost;
  readonly files: CheckpointFiles;
  readonly complete: CompletedCheckpoint;
  readonly origin: Readonly<Record<string, Json>>;
  readonly sample: HostSample;
  readonly check: Check;
  readonly fit: Fit;
}

async function kept(deps: ImportDeps, context: TaskContext, found: Found): Promise<TaskOutput> {
  const { request, model, host, files, complete, origin, sample, check, fit } = found;
  const config: LorsaConfigJson = { ...complete.config, norm_activation: fit.normalisation };
  const decisions = [
    ...complete.decisions,
    ...hostDecisions(origin, model, host),
    ...readingDecisions(check, fit),
  ];
  const engine = await deps.engine.report();
  const stored = files.weights.names().map((name) => [name, files.weights.tensor(name)] as const);
  const provenance: Record<string, Json> = {
    model,
    model_digest: host.digest,
    data_digest: sample.digest,
    program_digest: digestOfTensors(files.configText, stored),
    precision: 'fp64',
    provider: engine.provider,
    init: 'import',
    source: request.checkpoint,
    reading: fit.normalisation,
    declared: check.declared,
    fvu: fvuOf(check),
    decisions: decisions.map(({ text }) => text),
    // What trained it, where the file knows: text that measures it must leave that out here too.
    ...(typeof origin['activations'] === 'string' ? { activations: origin['activations'] } : {}),
    origin,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
  const configText = writeLorsaConfigJson(config);
  const weights = writeSafetensors(complete.tensors, {
    version: files.weights.header.metadata.get('version') ?? FORMAT_VERSION,
    ...ownMetadata(provenance, configText),
  });
  const text = (content: string) => new TextEncoder().encode(content);
  return outcomeWithFiles(context.blobs, {
    summary: summaryOf(found, decisions),
    files: [
      { name: 'checkpoint.safetensors', mediaType: 'application/x-safetensors', content: weights },
      { name: 'config.json', mediaType: 'application/json', content: text(configText) },
    ],
    provenance,
  });
}

const FORMAT_VERSION = '2.0.0';

function summaryOf({ model, complete, sample, check, fit, request }: Found, decisions: Decision[]) {
  const { config } = complete;
  return {
    model,
    layer: Number(/^blocks\.(\d+)\./.exec(config.hook_point_in)?.[1] ?? 0),
    hook_in: config.hook_point_in,
    hook_out: config.hook_point_out,
    heads: Math.floor(config.d_model * config.expansion_factor),
    qk_heads: config.n_qk_heads,
    activation: config.act_fn,
    top_k: config.top_k,
    normalisation: fit.normalisation,
    declared: check.declared,
    fvu: fit.fvu,
    l0: fit.l0,
    ...Object.fromEntries(
      check.fits.map(({ normalisation, fvu }) => [`fvu_${normalisation.replace('-', '_')}`, fvu]),
    ),
    tokens: sample.tokens,
    source: request.checkpoint,
    decisions: decisions.map(({ text }) => text),
  };
}

/** The file says on which weights it was made: others are no error if it fits them, and are said. */
function hostDecisions(
  origin: Found['origin'],
  model: string,
  { digest }: ImportHost,
): readonly Decision[] {
  const { model: theirs, model_digest: made } = origin;
  if (typeof made !== 'string' || made === '' || made === digest) return [];
  const text = `it was made on another host (${theirs || 'unnamed'}, ${made}) than ${model || 'the default model'} (${digest})`;
  return [{ what: 'other-host', text }];
}

const fvuOf = ({ fits }: Check): Record<string, Json> =>
  Object.fromEntries(fits.map(({ normalisation, fvu }) => [normalisation, fvu]));

/** A fit above this leaves more unexplained than any published layer does on its own text. */
const POOR_FVU = 0.5;

function readingDecisions(check: Check, fit: Fit): Decision[] {
  const decisions: Decision[] = [];
  if (fit.normalisation !== check.declared) {
    const text = `config.json says ${check.declared}; read as ${fit.normalisation}, because it fits the host: ${showFits(check)}`;
    decisions.push({ what: 'reading', text });
  }
  if (fit.fvu > POOR_FVU) {
    const text = `it fits poorly on this text: ${showFits(check)}`;
    decisions.push({ what: 'poor-fit', text });
  }
  return decisions;
}
