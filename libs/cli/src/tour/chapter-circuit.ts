import { present } from '@heddle/core';
import { follow, type Guide } from './guide.ts';
import { figure, sumLine } from './tour-output.ts';
import { FAMILIAR } from './tour-texts.ts';

const EDGES_SHOWN = 8;

interface TracedGraph {
  readonly value: number;
  readonly sum: number;
  readonly residual: number;
  readonly terms_abs_sum: number;
  readonly nodes: number;
  readonly edges: number;
  readonly strongest: readonly {
    readonly from: string;
    readonly to: string;
    readonly weight: number;
  }[];
}

export interface CircuitChapter extends TracedGraph {
  readonly job: string;
}

/** (e) Traces what makes the model prefer the indirect object, upstream from the logits. */
export async function traceCircuit(guide: Guide): Promise<CircuitChapter> {
  const { heddle, out, signal, model } = guide;
  out.chapter('e', `The circuit behind “${FAMILIAR.prompt}” → “ ${FAMILIAR.io}”`);
  const response = await heddle.circuit.StartTrace(
    {
      model,
      prompts: [{ text: FAMILIAR.prompt }],
      targets: [{ text: ` ${FAMILIAR.io}` }],
      versus: [{ text: ` ${FAMILIAR.s}` }],
      objective: 'OBJECTIVE_LOGIT',
    },
    { signal },
  );
  const { id, summary } = await follow(guide, response);
  const [graph] = summary['graphs'] as readonly TracedGraph[];
  const traced = present(graph, 'the graph of the one prompt');
  out.line(`${traced.nodes} nodes, ${traced.edges} edges; the strongest:`);
  out.table(
    ['from', 'to', 'weight'],
    traced.strongest
      .slice(0, EDGES_SHOWN)
      .map(({ from, to, weight }) => [from, to, figure(weight)]),
  );
  out.line(sumLine(`logit ${FAMILIAR.io} − logit ${FAMILIAR.s}`, traced));
  return { job: id, ...traced };
}
