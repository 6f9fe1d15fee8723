import { invalidArgument, resourceExhausted } from '@heddle/core';
import {
  addSums,
  applyLorsa,
  emptySums,
  figures,
  type LorsaApplied,
  type LorsaLayer,
  measure,
  zPatterns,
} from '@heddle/interp/lorsa';
import { showShape, type Tensor, tensor, widenF16 } from '@heddle/tensor';
import { applyOnEngine, type OnEngine } from './apply-on-engine.ts';
import {
  APPLY_BYTES_MAX,
  APPLY_GROUP_ELEMENTS,
  APPLY_TWIN_ALL_MAX,
  APPLY_TWIN_SEQUENCE_MAX,
  APPLY_TWIN_WORK_MAX,
  APPLY_WORK_MAX,
} from './limits.ts';

export interface ApplyInput {
  readonly layer: LorsaLayer;
  /** `[pos, d_model]` or `[batch, pos, d_model]`, f16, f32 or f64. */
  readonly input: Tensor;
  readonly target?: Tensor | undefined;
  readonly zPattern: boolean;
  readonly pattern: boolean;
}

/** One answer: f32, with a batch axis where the input had one. */
export interface AppliedTensor {
  readonly name: 'feature_acts' | 'reconstruction' | 'z_pattern' | 'pattern';
  readonly axes: readonly string[];
  readonly tensor: Tensor<'f32'>;
}

export interface Applied {
  readonly tensors: readonly AppliedTensor[];
  readonly tokens: number;
  readonly l0: number;
  /** Without a target undefined. */
  readonly fvu: number | undefined;
}

/** Where an Apply may compute: `engine` only where it has double precision. */
export interface ApplyOn extends Omit<OnEngine, 'engine'> {
  readonly engine: OnEngine['engine'] | undefined;
  /** Multiply-adds up to which the twin does without it. */
  readonly twinWorkMax?: number;
}

/**
 * A layer on given activations in double: what is small on the fp64 twin, the rest on the engine, some sequences at a
 * time with `breathe` between them. Errors: `invalid_argument` naming the tensor and what was expected,
 * `resource_exhausted` with the estimate.
 */
export async function apply(request: ApplyInput, on: ApplyOn): Promise<Applied> {
  const { layer } = request;
  const x = checkedInput('input', request.input, layer);
  const y = request.target && checkedInput('target', request.target, layer);
  if (y && showShape(y.shape) !== showShape(x.shape)) {
    throw invalidArgument(`target is ${showShape(y.shape)}, the input ${showShape(x.shape)}`, {
      field: 'target',
    });
  }
  const onEngine = checkCost(request, x, on);
  const wanted = { pattern: request.pattern || request.zPattern, values: request.zPattern };
  const [batch = 0] = x.shape;
  const [, pos = 0] = x.shape;
  const perSequence = pos * layer.config.n_ov_heads;
  // batchtopk chooses among all tokens of the batch; everything else knows only its own sequence.
  const together =
    layer.config.activation === 'batchtopk'
      ? batch
      : Math.max(1, onEngine ? Math.floor(APPLY_GROUP_ELEMENTS / perSequence) : 1);
  const parts: LorsaApplied[] = [];
  let sums = emptySums(layer.config.d_model);
  for (let from = 0; from < batch; from += together) {
    await on.breathe();
    const to = Math.min(from + together, batch);
    const group = { x: sequences(x, from, to), y: y && sequences(y, from, to) };
    const part = onEngine
      ? await applyOnEngine(onEngine, layer, { ...group, wanted })
      : applyLorsa(layer, group.x, group.y);
    const measured = {
      y: (group.y ?? part.reconstruction).data,
      reconstruction: part.reconstruction.data,
      featureActs: part.featureActs.data,
      valid: new Uint8Array(part.featureActs.data.length / layer.config.n_ov_heads).fill(1),
    };
    sums = addSums(sums, measure(layer.config.d_model, measured));
    parts.push(part);
  }
  const { fvu, l0 } = figures(sums);
  return {
    tensors: answers(request, parts),
    tokens: sums.tokens,
    l0,
    fvu: y === undefined || !Number.isFinite(fvu) ? undefined : fvu,
  };
}

/** As f64 `[batch, pos, d_model]`. */
function checkedInput(name: string, t: Tensor, layer: LorsaLayer): Tensor<'f64'> {
  const { d_model, n_ctx } = layer.config;
  const refuse = (message: string) => invalidArgument(`${name} ${message}`, { field: name });
  const shape = t.shape.length === 2 ? [1, ...t.shape] : t.shape;
  const [batch = 0, pos = 0, width = 0] = shape;
  if (shape.length !== 3 || width !== d_model || batch < 1 || pos < 1) {
    throw refuse(
      `is ${showShape(t.shape)}; [pos, ${d_model}] or [batch, pos, ${d_model}] is expected`,
    );
  }
  if (pos > n_ctx) throw refuse(`has ${pos} positions; the checkpoint was made for ${n_ctx}`);
  const floats =
    t.dtype === 'f16'
      ? widenF16(t.data as Uint16Array)
      : t.dtype === 'f32' || t.dtype === 'f64'
        ? (t.data as Float32Array | Float64Array)
        : undefined;
  if (!floats) throw refuse(`is ${t.dtype}; f16, f32 or f64 is expected`);
  const data = Float64Array.from(floats);
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw refuse(`holds ${data[bad]} at element ${bad} of ${showShape(t.shape)}`);
  return tensor('f64', [batch, pos, d_model], data);
}

/** Refuses what is too large; the engine, if this is to run there. */
function checkCost(
  { layer, zPattern, pattern }: ApplyInput,
  x: Tensor,
  on: ApplyOn,
): OnEngine | undefined {
  const { n_ov_heads, n_qk_heads, d_qk_head } = layer.config;
  const [batch = 0, pos = 0, d_model = 0] = x.shape;
  const perSequence =
    pos * d_model * (n_ov_heads + 2 * n_qk_heads * d_qk_head) +
    (pos * pos * (n_ov_heads + n_qk_heads * d_qk_head)) / 2;
  const work = batch * perSequence;
  const whole = layer.config.activation === 'batchtopk' ? work : perSequence;
  const { engine } = on;
  const small = work <= (on.twinWorkMax ?? APPLY_TWIN_WORK_MAX);
  const allowed = engine ? APPLY_WORK_MAX : APPLY_TWIN_ALL_MAX;
  if (work > allowed || (engine === undefined && whole > APPLY_TWIN_SEQUENCE_MAX)) {
    throw resourceExhausted(
      `this takes ${work.toExponential(1)} multiply-adds in fp64 (${whole.toExponential(1)} at once); at most ${allowed.toExponential(0)}${engine ? '' : ` and ${APPLY_TWIN_SEQUENCE_MAX.toExponential(0)}`} are taken: give shorter or fewer sequences`,
      { field: 'input', retryable: false, details: { work, limit: allowed } },
    );
  }
  const attention = batch * pos * pos * 4;
  const bytes =
    batch * pos * (n_ov_heads + d_model) * 4 +
    attention * ((zPattern ? n_ov_heads : 0) + (pattern ? n_qk_heads : 0));
  if (bytes > APPLY_BYTES_MAX) {
    throw resourceExhausted(
      `the answer would have ${bytes} bytes; at most ${APPLY_BYTES_MAX}: give fewer sequences, or leave out z_pattern`,
      { field: 'start.z_pattern', retryable: false, details: { bytes, limit: APPLY_BYTES_MAX } },
    );
  }
  return engine === undefined || small ? undefined : { ...on, engine };
}

function sequences(t: Tensor<'f64'>, from: number, to: number): Tensor<'f64'> {
  const [, pos = 0, d_model = 0] = t.shape;
  const size = pos * d_model;
  return tensor('f64', [to - from, pos, d_model], t.data.subarray(from * size, to * size));
}

function answers(request: ApplyInput, parts: readonly LorsaApplied[]): AppliedTensor[] {
  const { layer, input } = request;
  const batched = input.shape.length === 3;
  const join = (
    name: AppliedTensor['name'],
    axes: readonly string[],
    tensors: readonly Tensor<'f64'>[],
  ): AppliedTensor => {
    const size = tensors.reduce((n, t) => n + t.data.length, 0);
    const data = new Float32Array(size);
    let at = 0;
    for (const t of tensors) {
      data.set(t.data, at);
      at += t.data.length;
    }
    const rest = tensors[0]?.shape.slice(1) ?? [];
    const batch = tensors.reduce((n, t) => n + (t.shape[0] ?? 0), 0);
    return batched
      ? { name, axes: ['batch', ...axes], tensor: tensor('f32', [batch, ...rest], data) }
      : { name, axes, tensor: tensor('f32', rest, data) };
  };
  const out = [
    join(
      'feature_acts',
      ['pos', 'ov_head'],
      parts.map((p) => p.featureActs),
    ),
    join(
      'reconstruction',
      ['pos', 'd_model'],
      parts.map((p) => p.reconstruction),
    ),
  ];
  if (request.zPattern) {
    const patterns = parts.map((part) => zPatterns(layer, part));
    out.push(join('z_pattern', ['ov_head', 'query_pos', 'key_pos'], patterns));
  }
  if (request.pattern) {
    const axes = ['qk_head', 'query_pos', 'key_pos'];
    out.push(
      join(
        'pattern',
        axes,
        parts.map((p) => p.pattern),
      ),
    );
  }
  return out;
}
