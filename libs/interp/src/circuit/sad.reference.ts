import { lowRankSvd, type Matrix, rowOf, type Svd, zeroMatrix } from '@heddle/linalg';
import { type HostRun, requireTwinLength, rotated } from '../host/index.ts';
import { drained, type Trace } from './accpp.reference.ts';
import { GraphBuilder, type NodePlace } from './graph.ts';
import { SAD_EDGE_SHARE, SAD_FIRING } from './limits.ts';
import { type Question, seedsOf } from './seeds.reference.ts';

/** One firing: head L.H looks from dest to src. */
export interface HeadFiring {
  readonly layer: number;
  readonly head: number;
  readonly dest: number;
  readonly src: number;
}

export interface SadOptions {
  /** Where to start; absent: the heads among the objective's seeds, at the asked position. */
  readonly seeds?: readonly HeadFiring[];
  /**
   * `compatible` repeats the published code: the constant 1 of the augmented input counts for every
   * upstream head, and a side with a negative sum keeps its largest head. `clean` leaves the
   * constant out and skips such a side.
   */
  readonly mode?: 'clean' | 'compatible';
  /** Attention from which a head fires. */
  readonly firing?: number;
}

/** One orthogonal slice's part in a score. */
export interface Slice {
  readonly k: number;
  readonly contribution: number;
}

/** The augmented matrix of a head, decomposed, with both inputs of one (dest, src) pair. */
export interface AugmentedPair {
  readonly svd: Svd;
  readonly destInput: Float64Array;
  readonly srcInput: Float64Array;
  /** `c_k = (x̃_d · u_k) σ_k (v_k · x̃_s)`; their sum is the unscaled score. */
  readonly contributions: Float64Array;
}

/**
 * *Sparse attention decomposition of one score* (SAD): `Ω = (W_Q ; b_Q)(W_K ; b_K)ᵀ`, (d_model +
 * 1)², of rank ≤ d_head, `Ω = Σ σ_k u_k v_kᵀ`; inputs `x̃ = (x, 1)`, x the normalised residual. For
 * rotary models the pair's rotation stands between the factors (as in ACC), so that the singular
 * vectors belong to an offset; the paper has GPT-2 only. Franco & Crovella 2024.
 */
export function augmentedPair(run: HostRun, firing: HeadFiring): AugmentedPair {
  const { layer, head, dest, src } = firing;
  const weights = run.host.layer(layer);
  const kv = run.host.kvHead(head);
  const reads = run.head(layer, head);
  // A frozen QK norm divides the whole side, bias included: exactly as the query's own scale would.
  const A = augmented(weights.W_Q[head], weights.b_Q[head], (row) =>
    rotated(row, dest, run.host.shape.rotary),
  );
  const B = augmented(weights.W_K[kv], weights.b_K[kv], (row) =>
    rotated(row, src, run.host.shape.rotary),
  );
  const svd = lowRankSvd(A, B, `the augmented W_Q W_Kᵀ of head ${layer}.${head}`);
  const destInput = input(run, layer, dest, reads.queryDivisor(dest));
  const srcInput = input(run, layer, src, reads.keyDivisor(src));
  const contributions = svd.S.map(
    (sigma, k) => column(svd.U, k, destInput) * sigma * column(svd.V, k, srcInput),
  );
  return { svd, destInput, srcInput, contributions };
}

function augmented(
  W: Matrix,
  bias: Float64Array,
  turn: (row: Float64Array) => Float64Array,
): Matrix {
  const out = zeroMatrix(W.rows + 1, W.cols);
  for (let i = 0; i < W.rows; i++) rowOf(out, i).set(turn(rowOf(W, i).slice()));
  rowOf(out, W.rows).set(turn(bias));
  return out;
}

function input(run: HostRun, layer: number, position: number, divisor: number): Float64Array {
  const scale = run.normScale(layer)[position];
  const x = run.residual(layer, position).map((value) => value / scale / divisor);
  return Float64Array.of(...x, 1 / divisor);
}

/** `vector · (column k)`. */
function column(basis: Matrix, k: number, vector: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < basis.rows; i++) sum += vector[i] * basis.data[i * basis.cols + k];
  return sum;
}

/**
 * *The slices that make a score*: contributions descending (ascending for a total ≤ 0), the
 * shortest prefix whose sum over the total is strictly above 1. Where all have one sign the ratio
 * only reaches 1, and all are kept.
 */
export function selectSlices(contributions: Float64Array): Slice[] {
  const total = contributions.reduce((a, b) => a + b, 0);
  const direction = total > 0 ? -1 : 1;
  const sorted = Array.from(contributions, (contribution, k) => ({ k, contribution })).sort(
    (a, b) => direction * (a.contribution - b.contribution) || a.k - b.k,
  );
  const isOneSided = sorted.every(({ contribution }) => contribution * sorted[0].contribution >= 0);
  if (isOneSided) return sorted;
  let sum = 0;
  const end = sorted.findIndex(({ contribution }) => {
    sum += contribution;
    return sum / total > 1;
  });
  return end < 0 ? sorted : sorted.slice(0, end + 1);
}

export interface HeadContribution {
  readonly layer: number;
  readonly head: number;
  readonly weight: number;
}

/**
 * *What earlier heads add to a firing*, on one side: `C = Σ_{k∈S} e_k √σ_k w_k · (o, 1) / scale`
 * with w = v (src) or u (dest), e_k = sign(x̃_d · u_k), o the head's output at that token without
 * b_O. Of all of them the largest are kept, down to the first where the cumulated sum exceeds 0.7
 * of the whole.
 */
export function upstreamHeads(
  run: HostRun,
  firing: HeadFiring,
  pair: AugmentedPair,
  side: 'dest' | 'src',
  mode: 'clean' | 'compatible',
): HeadContribution[] {
  const position = side === 'dest' ? firing.dest : firing.src;
  const basis = side === 'dest' ? pair.svd.U : pair.svd.V;
  const direction = new Float64Array(basis.rows);
  for (const { k } of selectSlices(pair.contributions)) {
    const sign = Math.sign(column(pair.svd.U, k, pair.destInput));
    for (let i = 0; i < basis.rows; i++) {
      direction[i] += sign * Math.sqrt(pair.svd.S[k]) * basis.data[i * basis.cols + k];
    }
  }
  const reads = run.head(firing.layer, firing.head);
  const divisor =
    run.normScale(firing.layer)[position] *
    (side === 'dest' ? reads.queryDivisor(position) : reads.keyDivisor(position));
  const all: HeadContribution[] = [];
  for (let layer = 0; layer < firing.layer; layer++) {
    for (let head = 0; head < run.host.shape.n_heads; head++) {
      const output = wholeOutput(run, layer, head, position);
      let weight = mode === 'compatible' ? direction[direction.length - 1] : 0;
      for (let i = 0; i < output.length; i++) weight += direction[i] * output[i];
      all.push({ layer, head, weight: weight / divisor });
    }
  }
  return keepLargest(all, mode);
}

function wholeOutput(run: HostRun, layer: number, head: number, position: number): Float64Array {
  const outputs = run.headOutput(layer, head);
  const sum = new Float64Array(outputs.cols);
  for (let source = 0; source <= position; source++) {
    const weight = run.pattern(layer, head, position, source);
    rowOf(outputs, source).forEach((value, i) => {
      sum[i] += weight * value;
    });
  }
  return sum;
}

export function keepLargest(
  all: readonly HeadContribution[],
  mode: 'clean' | 'compatible',
): HeadContribution[] {
  const sorted = all.toSorted((a, b) => b.weight - a.weight);
  const total = all.reduce((sum, { weight }) => sum + weight, 0);
  if (mode === 'clean' && total < 0) return [];
  let sum = 0;
  const at = sorted.findIndex(({ weight }) => {
    sum += weight;
    return sum > SAD_EDGE_SHARE * total;
  });
  const cutoff = sorted[at < 0 ? sorted.length - 1 : at]?.weight ?? 0;
  return sorted.filter(({ weight }) => weight >= cutoff);
}

/**
 * *SAD, whole*: trace(l, h, d, s) stops where the head does not fire (attention ≥ 0.5, score ≥ 0, s
 * ≠ 0, l ≥ 1); else every kept upstream head is an edge, and each of its own firings at that token
 * is traced. MLPs, embeddings and biases are ignored in this generation. A head that has no firing
 * at the token stands as a whole (`src` null).
 */
export function traceSad(run: HostRun, question: Question, options: SadOptions = {}): Trace {
  return drained(sadSteps(run, question, options));
}

/** The same, pausing before each firing; yields the number of firings so far. */
export function* sadSteps(
  run: HostRun,
  question: Question,
  options: SadOptions = {},
): Generator<number, Trace> {
  requireTwinLength(run.length);
  const { seeds, ...seeding } = seedsOf(run, question);
  const graph = new GraphBuilder();
  const { position } = question;
  const root: NodePlace = {
    kind: 'root',
    layer: run.host.shape.n_layers,
    head: null,
    dest: position,
    src: position,
  };
  const to = graph.node(root, seeding.value);
  const weights = new Map(
    seeds.map(({ source, weight }) => [`${source.layer}.${source.head}>${source.source}`, weight]),
  );
  const starts =
    options.seeds ??
    seeds.flatMap(({ source: { kind, layer, head, source } }) =>
      kind === 'head' ? [{ layer, head: head as number, dest: position, src: source }] : [],
    );
  const tracer = new SadTracer(run, graph, options);
  for (const start of starts) {
    const weight = weights.get(`${start.layer}.${start.head}>${start.src}`) ?? 0;
    const from = tracer.place(start);
    graph.edge({ from, to, side: 'seed', weight, singular_vectors: [] });
    yield* tracer.trace(start);
  }
  return { graph: graph.build(), seeding, unexplained: [] };
}

class SadTracer {
  private readonly traced = new Set<string>();
  private readonly run: HostRun;
  private readonly graph: GraphBuilder;
  private readonly options: SadOptions;

  constructor(run: HostRun, graph: GraphBuilder, options: SadOptions) {
    this.run = run;
    this.graph = graph;
    this.options = options;
  }

  place({ layer, head, dest, src }: HeadFiring): string {
    return this.graph.node(
      { kind: 'head', layer, head, dest, src },
      this.run.pattern(layer, head, dest, src),
    );
  }

  *trace(firing: HeadFiring): Generator<number, void> {
    const to = this.place(firing);
    if (this.traced.has(to) || !this.fires(firing)) return;
    this.traced.add(to);
    yield this.traced.size;
    const pair = augmentedPair(this.run, firing);
    const singular_vectors = selectSlices(pair.contributions).map(({ k }) => k);
    for (const side of ['src', 'dest'] as const) {
      const at = side === 'src' ? firing.src : firing.dest;
      const mode = this.options.mode ?? 'clean';
      for (const { layer, head, weight } of upstreamHeads(this.run, firing, pair, side, mode)) {
        const firings = this.firingsAt(layer, head, at);
        if (firings.length === 0) {
          const from = this.graph.node({ kind: 'head', layer, head, dest: at, src: null }, null);
          this.graph.edge({ from, to, side, weight, singular_vectors });
        }
        for (const upstream of firings) {
          const from = this.place(upstream);
          this.graph.edge({ from, to, side, weight, singular_vectors });
          yield* this.trace(upstream);
        }
      }
    }
  }

  private firingsAt(layer: number, head: number, dest: number): HeadFiring[] {
    const all = Array.from({ length: dest + 1 }, (_, src) => ({ layer, head, dest, src }));
    return all.filter((firing) => this.fires(firing));
  }

  private fires({ layer, head, dest, src }: HeadFiring): boolean {
    const { firing = SAD_FIRING } = this.options;
    if (layer < 1 || src === 0 || this.run.pattern(layer, head, dest, src) < firing) return false;
    const reads = this.run.head(layer, head);
    const [q, k] = [reads.query(dest), reads.key(src)];
    return q.reduce((sum, value, i) => sum + value * k[i], 0) >= 0;
  }
}
