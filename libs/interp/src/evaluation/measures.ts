import type { GraphBuilder, Value } from '@heddle/onnx';

/** A reconstruction as a graph has it. */
export interface Reconstructed {
  /** ŷ in the host's units, `[token, d_model]`. */
  readonly reconstruction: Value;
  /** 1 where active, `[token, feature]`. */
  readonly active: Value;
}

/** What reconstructions are measured against. */
export interface Target {
  /** y in the host's units, `[batch, pos, d_model]`. */
  readonly y: Value;
  /** `[batch, pos]` 0/1. */
  readonly valid: Value;
  /** Any vector near the mean of y `[d_model]`: squares are summed about it, so that single precision is enough. */
  readonly centre: Value;
}

/** y, valid and centre as feeds. */
export function targetInputs(g: GraphBuilder, d_model: number): Target {
  return {
    y: g.input('y', 'f32', ['batch', 'pos', d_model]),
    valid: g.input('valid', 'f32', ['batch', 'pos']),
    centre: g.input('centre', 'f32', [d_model]),
  };
}

/**
 * Sums per sequence from which every figure follows.
 *
 *   outputs   tokens `[batch]` · square `[batch]`: Σ‖y − centre‖² · total `[d_model]`: Σ y − centre · for each
 *             reconstruction j: error_j, relative_j, active_j `[batch]`: Σ‖y − ŷ‖², Σ ‖y − ŷ‖ / ‖y‖ (where y ≠ 0),
 *             Σ active features · fired `[feature]`: tokens on which a feature of reconstruction 0 is active
 */
export function measureGraph(
  g: GraphBuilder,
  target: Target,
  reconstructions: readonly Reconstructed[],
): void {
  const { y, valid, centre } = target;
  const weight = g.unsqueeze(valid, [2]); // [batch, pos, 1]
  const perSequence = (value: Value) => g.reduceSum(value, { axes: [1, 2], keepDims: false });
  g.scope('target', () => {
    const off = g.mul(g.sub(y, centre), weight);
    g.output('tokens', g.reduceSum(valid, { axes: [1], keepDims: false }));
    g.output('square', perSequence(g.mul(off, off)));
    g.output('total', g.reduceSum(off, { axes: [0, 1], keepDims: false }));
  });
  const size = g.reduceL2(y, { axes: [2] }); // [batch, pos, 1]
  reconstructions.forEach(({ reconstruction, active }, j) => {
    g.scope(`reconstruction_${j}`, () => {
      const error = g.sub(y, g.reshape(reconstruction, y.shape));
      const off = g.reduceL2(error, { axes: [2] });
      const ratio = g.where(g.greater(size, 0), g.div(off, size), 0);
      const count = g.reduceSum(active, { axes: [1] }); // [token, 1]
      g.output(`error_${j}`, perSequence(g.mul(g.mul(error, error), weight)));
      g.output(`relative_${j}`, perSequence(g.mul(ratio, weight)));
      g.output(`active_${j}`, perSequence(g.mul(g.reshape(count, weight.shape), weight)));
      if (j > 0) return;
      const rows = g.reshape(valid, [-1, 1]);
      g.output('fired', g.reduceSum(g.mul(active, rows), { axes: [0], keepDims: false }));
    });
  });
}
