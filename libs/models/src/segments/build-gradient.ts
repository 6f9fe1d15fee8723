import { assert } from '@heddle/core';
import { type Value, vjp } from '@heddle/onnx';
import { gradientOf, type SegmentGradient, seedFeed } from './segment-request.ts';
import type { SegmentSite } from './segment-site.ts';

/** What the scalar depends on here, and its gradient by that. */
interface Pair {
  readonly output: Value;
  readonly cotangent: Value;
}

/**
 * *The way back through a segment.* With c = ∂s/∂resid_out and w the seeds, ∂s/∂x of
 *   s = ⟨c, resid_out⟩ + Σ over seeds ⟨w, hook⟩
 * by each hook x asked for (its value after interventions, as an `add` there would move it) and by `resid_in`. A hook that
 * nothing of s depends on gets zeros.
 */
export function buildGradient(
  site: SegmentSite,
  gradient: SegmentGradient,
  resid: Value | undefined,
): void {
  const { g } = site;
  const { seeds, at, fromNext, toPrevious } = gradient;
  const pairs = seeds.flatMap((hook) =>
    hook === 'logits' ? logitPairs(site) : [seed(site, hook)],
  );
  if (fromNext) {
    assert(resid !== undefined, 'no segment stands behind the unembedding');
    pairs.push({
      output: resid,
      cotangent: g.input(gradientOf('resid_out'), 'f32', resid.shape),
    });
  }
  const wanted = toPrevious ? [...at, 'resid_in'] : at;
  const found = vjp(
    g,
    pairs.map(({ output }) => output),
    pairs.map(({ cotangent }) => cotangent),
    wanted.map((hook) => site.at(hook)),
  );
  wanted.forEach((hook, i) => {
    const value = found[i];
    assert(value !== undefined, 'one gradient for each');
    g.output(gradientOf(hook), value);
  });
}

function seed(site: SegmentSite, hook: string): Pair {
  const output = site.at(hook);
  return { output, cotangent: site.g.input(seedFeed(hook), 'f32', output.shape) };
}

/** One row of logits for each term: its token, its weight as a logit and its weight as a log probability; all of them feeds. */
function logitPairs(site: SegmentSite): Pair[] {
  const { g } = site;
  const logits = site.at('logits'); // [token, d_vocab]
  const tokens = g.input('logit_tokens', 'i64', ['rows', 1]);
  return [
    { of: logits, weights: 'logit_weights' },
    { of: g.logSoftmax(logits, { axis: -1 }), weights: 'logprob_weights' },
  ].map(({ of, weights }) => ({
    output: g.gatherElements(of, tokens, { axis: 1 }),
    cotangent: g.input(weights, 'f32', ['rows', 1]),
  }));
}
