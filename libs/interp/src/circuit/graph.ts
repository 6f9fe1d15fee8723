/**
 * What a node of a trace is. `attn_bias` is a layer's b_O with its value biases, `bias_offset` a
 * reading head's own biases.
 */
export type NodeKind = 'head' | 'mlp' | 'embedding' | 'attn_bias' | 'bias_offset' | 'root';

export interface TraceNode {
  readonly id: string;
  /** Of the block; embeddings and offsets stand in 0, the root in n_layers. */
  readonly layer: number;
  readonly kind: NodeKind;
  /** Null for what has no heads. */
  readonly head: number | null;
  /**
   * Where it writes, and for a head where it reads; both the position for bare nodes. Null: the
   * whole head (SAD).
   */
  readonly dest: number;
  readonly src: number | null;
  /**
   * A head: its attention from dest to src. The root: the objective. Others: the sum of what their
   * edges weigh.
   */
  readonly weight: number;
}

export interface TraceEdge {
  readonly from: string;
  readonly to: string;
  readonly side: 'seed' | 'dest' | 'src';
  /**
   * Attention that the edge brings (ACC++), score contribution (SAD), share of the objective
   * (seeds).
   */
  readonly weight: number;
  /** Ranks of the singular values of the reading head's W_Q W_Kᵀ, 0 the largest. */
  readonly singular_vectors: readonly number[];
}

export interface TraceGraph {
  readonly nodes: readonly TraceNode[];
  readonly edges: readonly TraceEdge[];
}

/** Where a node stands; enough for its name. */
export type NodePlace = Omit<TraceNode, 'id' | 'weight'>;

/** `9.9@14>1`, `mlp8@14`, `embedding@3`, `attn_bias2@5`, `bias_offset@5`, `root`. */
function nodeId({ kind, layer, head, dest, src }: NodePlace): string {
  switch (kind) {
    case 'root':
      return 'root';
    case 'head':
      return `${layer}.${head}@${dest}${src === null ? '' : `>${src}`}`;
    case 'embedding':
    case 'bias_offset':
      return `${kind}@${dest}`;
    default:
      return `${kind}${layer}@${dest}`;
  }
}

/** Collects nodes once and edges in the order of the trace. */
export class GraphBuilder {
  private readonly nodes = new Map<string, { place: NodePlace; weight: number | null }>();
  private readonly edges: TraceEdge[] = [];

  /** `weight` null: the sum of the weights of its edges, known at the end. */
  node(place: NodePlace, weight: number | null): string {
    const id = nodeId(place);
    if (!this.nodes.has(id)) this.nodes.set(id, { place, weight });
    return id;
  }

  edge(edge: TraceEdge): void {
    this.edges.push(edge);
  }

  get size(): number {
    return this.nodes.size;
  }

  build(): TraceGraph {
    const outgoing = new Map<string, number>();
    for (const { from, weight } of this.edges) {
      outgoing.set(from, (outgoing.get(from) ?? 0) + weight);
    }
    const nodes = [...this.nodes].map(([id, { place, weight }]) => ({
      id,
      ...place,
      weight: weight ?? outgoing.get(id) ?? 0,
    }));
    return { nodes, edges: this.edges };
  }
}
