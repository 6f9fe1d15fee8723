import {
  type CrossEntropySums,
  downstreamFigures,
  predictionsOf,
  type Ratio,
  type ReconstructionSums,
  reconstructionFigures,
  tokensOf,
  zeroFvu,
} from '@heddle/interp/evaluation';
import type { EvaluationState } from './evaluation-state.ts';

/** One replacement of the layer's output. Null: not measured. */
export type EvaluationRow = {
  readonly name: 'original' | 'lorsa' | 'sae' | 'mean' | 'zero';
  readonly fvu: number | null;
  readonly fvu_error: number | null;
  readonly ev: number | null;
  readonly relative_l2: number | null;
  readonly l0: number | null;
  /** Features silent on this text, and their share. */
  readonly dead: number | null;
  readonly dead_share: number | null;
  readonly ce: number | null;
  readonly ce_increase: number | null;
  readonly ce_increase_error: number | null;
  readonly loss_recovered: number | null;
  readonly loss_recovered_error: number | null;
};

/** The same weights at another K. */
export type KPoint = {
  readonly top_k: number;
  readonly fvu: number;
  readonly fvu_error: number | null;
  readonly l0: number;
  readonly sae_fvu: number | null;
  readonly sae_l0: number | null;
};

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** What is not there for a replacement that is no dictionary. */
const NO_FEATURES = { relative_l2: null, l0: null, dead: null, dead_share: null } as const;

/** The table: the layer as it is, Lorsa, the autoencoder, the mean of y (EV 0), and nothing in the layer's place. */
export function evaluationRows({ lorsa, sae, downstream, centre }: EvaluationState) {
  const exact = { fvu: 0, fvu_error: 0, ev: 1, ...NO_FEATURES, relative_l2: 0 };
  const mean = { fvu: 1, fvu_error: 0, ev: 0, ...NO_FEATURES };
  const nothing = zeroFvu(lorsa, centre);
  const zero = { fvu: finite(nothing), fvu_error: null, ev: finite(1 - nothing) };
  const rows: EvaluationRow[] = [
    { name: 'original', ...exact, ...downstreamOf(downstream, 'original') },
    { name: 'lorsa', ...reconstructionOf(lorsa), ...downstreamOf(downstream, 'lorsa') },
  ];
  if (sae) {
    rows.push({ name: 'sae', ...reconstructionOf(sae), ...downstreamOf(downstream, 'sae') });
  }
  rows.push(
    { name: 'mean', ...mean, ...downstreamOf(downstream, 'mean') },
    { name: 'zero', ...zero, ...NO_FEATURES, relative_l2: 1, ...downstreamOf(downstream, 'zero') },
  );
  return rows;
}

function reconstructionOf(sums: ReconstructionSums) {
  const { fvu, ev, relativeL2, l0 } = reconstructionFigures(sums, 0);
  const dead = sums.fired.filter((count) => count === 0).length;
  return {
    fvu: finite(fvu.value),
    fvu_error: finite(fvu.error),
    ev: finite(ev),
    relative_l2: finite(relativeL2),
    l0,
    dead,
    dead_share: dead / sums.fired.length,
  };
}

function downstreamOf(sums: CrossEntropySums, name: string) {
  if (predictionsOf(sums) === 0) {
    return {
      ce: null,
      ce_increase: null,
      ce_increase_error: null,
      loss_recovered: null,
      loss_recovered_error: null,
    };
  }
  const { ce, ceIncrease, lossRecovered } = downstreamFigures(sums, name);
  const told = ({ value, error }: Ratio) => [finite(value), finite(error)] as const;
  const [ce_increase, ce_increase_error] = told(ceIncrease);
  const [loss_recovered, loss_recovered_error] = told(lossRecovered);
  return { ce: finite(ce), ce_increase, ce_increase_error, loss_recovered, loss_recovered_error };
}

/** FVU over K, ascending; `topK` as the sums have them. */
export function kCurve({ lorsa, sae }: EvaluationState, topK: readonly number[]): KPoint[] {
  const points = topK.map((top_k, j): KPoint => {
    const own = reconstructionFigures(lorsa, j);
    const other = sae && reconstructionFigures(sae, j);
    return {
      top_k,
      fvu: own.fvu.value,
      fvu_error: finite(own.fvu.error),
      l0: own.l0,
      sae_fvu: other ? finite(other.fvu.value) : null,
      sae_l0: other?.l0 ?? null,
    };
  });
  return points.sort((a, b) => a.top_k - b.top_k);
}

/** Tokens and predictions measured. */
export const measuredOf = ({ lorsa, downstream }: EvaluationState) => ({
  tokens: tokensOf(lorsa),
  predictions: predictionsOf(downstream),
});
