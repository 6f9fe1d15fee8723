/**
 * `npm run bench -- lorsa`: how much of the machine's own matrix-product rate a Lorsa training step keeps in each backend, and
 * how much faster the sparse one is. Forward, backward and Adam through the engine and kernels that the trainer uses.
 */

import { programOf } from '@heddle/adapters/hub';
import { WasmKernels } from '@heddle/adapters/kernels';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import {
  ADAM_DEFAULTS,
  graphBackend,
  initialiseLevelA,
  initialState,
  type LorsaConfig,
  sparseBackend,
  sparseSizes,
  type TrainBackend,
  type TrainStep,
} from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import { PRODUCT_FLOPS, productPlan, type Timed, timed } from './capture.ts';

const BATCH = 4;
const POS = 256;
const TOKENS = BATCH * POS;
const D_MODEL = 512;
const N_QK = 8;
const D_QK = 64;
const TOP_K = 32;
const WIDTHS = [4096, 16384] as const;

/** Odd; two minutes in all. */
const ROUNDS = 7;
/** Thrown away: sessions are opened, pages touched, WebAssembly compiled. */
const WARM_UP = 2;
/** Steps per sample. The graph backend takes them as one plan, as the trainer does; the sparse one after another. */
const STEPS = 4;
/** Of a round, before each sample, so that both see the machine's mood. */
const PRODUCTS = 5;

export type Width = (typeof WIDTHS)[number];
export type BackendName = TrainBackend['name'];

export type Clock = keyof Timed;

/** Seconds of one step (or product), one sample per round: by the clock on the wall, and of the whole process's CPUs. */
export interface LorsaSamples {
  readonly threads: number;
  readonly product: readonly Timed[];
  readonly productFlops: number;
  readonly step: Readonly<Record<BackendName, Readonly<Record<Width, readonly Timed[]>>>>;
  /** Milliseconds of each kernel in one step at the smaller width. */
  readonly kernels: ReadonlyMap<string, readonly number[]>;
}

/**
 * Floating-point operations of a step: 2 · multiply-adds of its products.
 *
 * `graph`: every product of the dense step, attention in full T x T. `sparse`: what is left when only active pairs are
 * decoded and differentiated (five products of K rows a token), Y = A x and U xᵀ cut to causal blocks (three eighths fall away).
 */
export function stepFlops(backend: BackendName, width: number): number {
  const projections = 2 * 2 * TOKENS * D_MODEL * N_QK * D_QK; // q and k; again for their gradients
  const scores = 2 * TOKENS * POS * N_QK * D_QK; // and twice more for dq, dk
  const encoder = 2 * TOKENS * D_MODEL * width;
  const attention = 2 * projections + 3 * scores;
  if (backend === 'graph') return attention + 5 * encoder + 3 * (2 * TOKENS * POS * width);
  const mixing = 2 * (2 * TOKENS * POS * N_QK * D_MODEL);
  const pairs = 5 * 2 * TOKENS * TOP_K * D_MODEL;
  return attention + encoder + (5 / 8) * mixing + pairs;
}

export async function measureLorsa(threads: number, rounds = ROUNDS): Promise<LorsaSamples> {
  const engine = await OrtEngine.start({ threads });
  const kernels = new Map<string, number[]>();
  const trained: Trained[] = [];
  try {
    for (const width of WIDTHS) {
      for (const name of ['graph', 'sparse'] as const) {
        const onPhase = (kernel: string, ms: number) => {
          if (width === WIDTHS[0]) kernels.set(kernel, [...(kernels.get(kernel) ?? []), ms]);
        };
        trained.push(await open(engine, { name, width, threads, onPhase }));
      }
    }
    return await measure(engine, { trained, threads, rounds, kernels });
  } finally {
    for (const { backend } of trained) await backend.close();
    await engine.close();
  }
}

interface Trained {
  readonly name: BackendName;
  readonly width: Width;
  readonly backend: TrainBackend;
  readonly samples: Timed[];
}

interface Opening {
  readonly name: BackendName;
  readonly width: Width;
  readonly threads: number;
  readonly onPhase: (kernel: string, ms: number) => void;
}

async function open(engine: OrtEngine, of: Opening): Promise<Trained> {
  const { name, width, threads, onPhase } = of;
  const config = configOf(width);
  const common = { config, tokensMax: TOKENS, topKMax: TOP_K };
  const options = { ...common, engine, program: programOf.bind(undefined, undefined) };
  const sizes = sparseSizes({ ...common, clips: false });
  const backend =
    name === 'graph'
      ? graphBackend({ ...options, stepsMax: STEPS })
      : sparseBackend({
          ...options,
          kernels: await new WasmKernels({ threads, onPhase }).open(sizes),
        });
  const rng = new Rng(1);
  const start = { epochRng: rng.snapshot(), norms: { input: 1, output: 1 } };
  const state = initialState(config, initialiseLevelA(config, rng), start);
  await backend.load(state.tensors);
  return { name, width, backend, samples: [] };
}

const configOf = (width: number): LorsaConfig => ({
  d_model: D_MODEL,
  n_ov_heads: width,
  n_qk_heads: N_QK,
  d_qk_head: D_QK,
  n_ctx: POS,
  activation: 'topk',
  topK: TOP_K,
  signed: false,
  decoderNormInGate: true,
  useDecoderBias: true,
  attnScale: Math.sqrt(D_QK),
  rotary: { dim: D_QK, base: 10000, layout: 'half' },
  qkNormEps: undefined,
});

async function measure(
  engine: OrtEngine,
  of: {
    readonly trained: readonly Trained[];
    readonly threads: number;
    readonly rounds: number;
    readonly kernels: Map<string, number[]>;
  },
): Promise<LorsaSamples> {
  const { trained, threads, rounds, kernels } = of;
  const plan = productPlan();
  const product: Timed[] = [];
  const [x, y] = [rows(2), rows(3)];
  for (let round = -WARM_UP; round < rounds; round++) {
    if (round === 0) kernels.clear();
    for (const { name, backend, samples } of trained) {
      for (let i = 0; i < PRODUCTS; i++) {
        const once = await timed(() => engine.run(plan));
        if (round >= 0) product.push(once);
      }
      const first = (round + WARM_UP) * STEPS + 1;
      const { cpu, wall } = await timed(() => takeSteps(name, backend, { first, x, y }));
      if (round >= 0) samples.push({ cpu: cpu / STEPS, wall: wall / STEPS });
    }
  }
  const step = { graph: {}, sparse: {} } as Record<BackendName, Record<Width, Timed[]>>;
  for (const { name, width, samples } of trained) step[name][width] = samples;
  return { threads, product, productFlops: PRODUCT_FLOPS, step, kernels };
}

async function takeSteps(
  name: BackendName,
  backend: TrainBackend,
  { first, x, y }: { first: number; x: Tensor<'f32'>; y: Tensor<'f32'> },
): Promise<void> {
  const valid = tensor('f32', [BATCH, POS], new Float32Array(TOKENS).fill(1));
  const steps = Array.from({ length: STEPS }, (_, i): TrainStep => {
    const numbers = { topK: TOP_K, rate: 1e-4, step: first + i, adam: ADAM_DEFAULTS };
    return { x, y, valid, numbers: { ...numbers, clipNorm: Number.POSITIVE_INFINITY } };
  });
  const dead = { silentTokens: new Float64Array(0) };
  if (name === 'graph') await backend.run(steps, { dead });
  else for (const step of steps) await backend.run([step], { dead });
}

function rows(seed: number): Tensor<'f32'> {
  const rng = new Rng(seed);
  const length = TOKENS * D_MODEL;
  const data = Float32Array.from({ length }, () => rng.normal());
  return tensor('f32', [BATCH, POS, D_MODEL], data);
}
