import { figures, type StepReport } from '@heddle/interp/lorsa';
import { CURVE_POINTS } from './limits.ts';

/** What a training looked like at one step, on that step's own batch. */
export type CurvePoint = {
  readonly step: number;
  readonly tokens: number;
  readonly loss: number;
  readonly fvu: number;
  readonly l0: number;
  readonly dead: number;
  readonly k: number;
  readonly lr: number;
};

/** Whether the curve has a point after `step` of `steps`: the first, the last, and evenly between. */
export function onCurve(step: number, steps: number): boolean {
  return step === 1 || step === steps || step % Math.ceil(steps / (CURVE_POINTS - 2)) === 0;
}

export function curvePoint(
  report: StepReport,
  at: Pick<CurvePoint, 'step' | 'tokens' | 'dead' | 'k' | 'lr'>,
): CurvePoint {
  const { fvu, l0 } = figures(report.sums);
  return { ...at, loss: report.loss, fvu, l0 };
}
