import { invalidArgument, resourceExhausted } from '@heddle/core';
import { type HostRun, requireTwinLength } from '../host/index.ts';
import { type Component, type Firing, traceSide } from './firing.reference.ts';
import { GraphBuilder, type NodePlace, type TraceGraph } from './graph.ts';
import { type HeadBasis, headBasis } from './head-basis.ts';
import { DYNAMIC_THRESHOLD, NODES_MAX } from './limits.ts';
import { type Question, type Seeding, seedsOf } from './seeds.reference.ts';

export interface AccppOptions {
  /**
   * `dynamic`: min(1, 2.5 / number of keys), for each firing; or one share of attention for all.
   */
  readonly threshold?: 'dynamic' | number;
}

export interface Trace {
  readonly graph: TraceGraph;
  readonly seeding: Omit<Seeding, 'seeds'>;
  /**
   * Heads whose firing was not explained within the cap on removals: they stand in the graph
   * without edges.
   */
  readonly unexplained: readonly string[];
}

/** Singular bases of heads, shared by the prompts of a model. */
export type BasisOf = (layer: number, head: number) => HeadBasis;

export function basisCache(run: HostRun): BasisOf {
  const known = new Map<string, HeadBasis>();
  return (layer, head) => {
    const key = `${layer}.${head}`;
    const basis = known.get(key) ?? headBasis(run.host, layer, head);
    known.set(key, basis);
    return basis;
  };
}

/**
 * *ACC++, whole*: from the objective's seeds down, each head that fires is explained on its query
 * and on its key side by (component, singular vector) terms; heads among them are traced in turn, a
 * query-side one at (dest, the token it read), a key-side one at (src, that token). A firing is
 * traced in layer ≥ 1, at dest ≥ 1, when its attention reaches the threshold. Each once.
 *
 * Norm scales are frozen, those of QK norm too (then the score is bilinear again; the reference
 * refuses such models). Franco et al. 2026.
 */
export function traceAccpp(
  run: HostRun,
  question: Question,
  options: AccppOptions = {},
  basisOf: BasisOf = basisCache(run),
): Trace {
  return drained(accppSteps(run, question, options, basisOf));
}

/**
 * The same, pausing before each side of each firing (a tenth of a second to one), so that a caller
 * can look up or stop; yields the number of firings so far.
 */
export function* accppSteps(
  run: HostRun,
  question: Question,
  options: AccppOptions = {},
  basisOf: BasisOf = basisCache(run),
): Generator<number, Trace> {
  requireTwinLength(run.length);
  if (question.position >= run.length) {
    throw invalidArgument(
      `position ${question.position} is outside of the prompt's ${run.length} tokens`,
      { field: 'position', details: { limit: run.length - 1 } },
    );
  }
  const { seeds, ...seeding } = seedsOf(run, question);
  const graph = new GraphBuilder();
  const { position } = question;
  const root = {
    kind: 'root',
    layer: run.host.shape.n_layers,
    head: null,
    dest: position,
  } as const;
  const to = graph.node({ ...root, src: position }, seeding.value);
  const tracer = new AccppTracer(run, graph, options, basisOf);
  for (const { source, weight } of seeds) {
    const component = { ...source, token: source.source };
    const from = tracer.place(component, position);
    graph.edge({ from, to, side: 'seed', weight, singular_vectors: [] });
    if (source.kind === 'head') {
      yield* tracer.trace(source.layer, source.head as number, position, source.source);
    }
  }
  return { graph: graph.build(), seeding, unexplained: tracer.unexplained };
}

/** A generator's result, run to its end. */
export function drained<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

class AccppTracer {
  readonly unexplained: string[] = [];
  private readonly traced = new Set<string>();
  private firings = 0;
  private readonly run: HostRun;
  private readonly graph: GraphBuilder;
  private readonly options: AccppOptions;
  private readonly basisOf: BasisOf;

  constructor(run: HostRun, graph: GraphBuilder, options: AccppOptions, basisOf: BasisOf) {
    this.run = run;
    this.graph = graph;
    this.options = options;
    this.basisOf = basisOf;
  }

  /** The node of a component that writes at `dest`. */
  place(component: Component, dest: number): string {
    if (this.graph.size >= NODES_MAX) {
      throw resourceExhausted(
        `the trace has more than ${NODES_MAX} nodes; raise the threshold or shorten the prompt`,
        { field: 'threshold', retryable: false, details: { limit: NODES_MAX } },
      );
    }
    const { kind, layer, head, token } = component;
    const place: NodePlace = { kind, layer, head, dest, src: kind === 'head' ? token : dest };
    return this.graph.node(
      place,
      kind === 'head' ? this.run.pattern(layer, head as number, dest, token) : null,
    );
  }

  *trace(layer: number, head: number, dest: number, src: number): Generator<number, void> {
    const key = `${layer}.${head}@${dest}>${src}`;
    if (this.traced.has(key)) return;
    this.traced.add(key);
    if (layer === 0 || dest === 0) return;
    const firing: Firing = { dest, src, threshold: this.threshold(dest) };
    if (this.run.pattern(layer, head, dest, src) < firing.threshold) return;
    this.firings++;
    const to = this.place({ kind: 'head', layer, head, token: src }, dest);
    for (const side of ['dest', 'src'] as const) {
      yield this.firings;
      const basis = this.basisOf(layer, head);
      const { removed, capped } = traceSide(
        this.run,
        this.run.head(layer, head),
        basis,
        side,
        firing,
      );
      if (capped) {
        this.unexplained.push(`${to} ${side}`);
        continue;
      }
      const at = side === 'dest' ? dest : src;
      for (const { component, drop, singularVectors } of removed) {
        // A competing key's read of a later token is no signal into src.
        if (component.token > at) continue;
        const from = this.place(component, at);
        this.graph.edge({ from, to, side, weight: drop, singular_vectors: singularVectors });
        if (component.kind === 'head') {
          yield* this.trace(component.layer, component.head as number, at, component.token);
        }
      }
    }
  }

  private threshold(dest: number): number {
    const { threshold = 'dynamic' } = this.options;
    return threshold === 'dynamic' ? Math.min(1, DYNAMIC_THRESHOLD / (dest + 1)) : threshold;
  }
}
