import { failedPrecondition } from '@heddle/core';
import {
  addScaled,
  identityMatrix,
  lowRankSvd,
  type Matrix,
  matrix,
  maxAbs,
  multiply,
  multiplyTransposed,
  pinv,
} from '@heddle/linalg';
import type { ProcessedHost } from '../host/index.ts';
import { RANK_TOLERANCE } from './limits.ts';

/**
 * *The singular basis of a head*, `W_Q W_Kᵀ = U diag(S) Vᵀ`, seen from head space. A query part q
 * (after rotation) has the coefficients `q W_Q⁺ U diag(S)`, a key part k the coefficients
 * `k (W_K⁺) V`; their product over k is q·k exactly, because `toQuery toKeyᵀ = 1` in head space
 * when both weights have full column rank. One basis for all positions and prompts: rotation and
 * biases become maps of the inputs, `M_d = W_Q R_dᵀ W_Q⁺`, `c_d = b_Q W_Q⁺` (and likewise for
 * keys), which are never formed.
 */
export interface HeadBasis {
  /** `W_Q⁺ U diag(S)`, `[d_head, d_head]`: first axis head space, second singular vector. */
  readonly toQuery: Matrix;
  /** `W_K⁺ V`, likewise. */
  readonly toKey: Matrix;
  readonly S: Float64Array;
}

/** Refuses a head without full column rank by name: its scores have no such decomposition. */
export function headBasis(host: ProcessedHost, layer: number, head: number): HeadBasis {
  const weights = host.layer(layer);
  const W_Q = weights.W_Q[head];
  const W_K = weights.W_K[host.kvHead(head)];
  const { U, S, V } = lowRankSvd(W_Q, W_K, `W_Q W_Kᵀ of head ${layer}.${head}`);
  const scaled = matrix(
    U.rows,
    U.cols,
    U.data.map((value, i) => value * S[i % U.cols]),
  );
  const toQuery = multiply(pinv(W_Q), scaled);
  const toKey = multiply(pinv(W_K), V);
  const identity = multiplyTransposed(toQuery, toKey);
  const off = maxAbs(addScaled(identity, identityMatrix(identity.rows), -1).data);
  if (off > RANK_TOLERANCE) {
    throw failedPrecondition(
      `head ${layer}.${head}: W_Q or W_K has no full column rank (identity missed by ${off}); its scores have no ACC++ decomposition`,
      { details: { layer, head, off } },
    );
  }
  return { toQuery, toKey, S };
}
