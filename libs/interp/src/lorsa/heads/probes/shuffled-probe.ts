import { type Rng, unreachable } from '@heddle/core';
import type { Probe, ProbeSequence, ProbeTarget } from './probe.ts';

/**
 * *The control of a probe*: the same sequences, the labels dealt out anew, so that what the heads do is as it was and being
 * right is chance. Sources move to a random earlier position (and with them the token that would be raised), successors and suppressed tokens
 * are permuted, IO and S change places by lot, sums get each other's operands, and a topic's words stand anywhere.
 */
export function shuffledProbe(probe: Probe, rng: Rng): Probe {
  const { detector, sequences } = probe;
  const each = (change: (sequence: ProbeSequence) => ProbeSequence): Probe => ({
    ...probe,
    sequences: sequences.map(change),
  });
  switch (detector) {
    case 'previous_token':
    case 'sink':
      return each((sequence) => withTargets(sequence, (target) => elsewhere(target, rng)));
    case 'induction':
    case 'subtoken_induction':
      return each((sequence) =>
        withTargets(sequence, (target) => {
          const moved = elsewhere(target, rng);
          return { ...moved, raises: sequence.tokens[moved.sources[0]] };
        }),
      );
    case 'name_mover':
      return each((sequence) =>
        withTargets(sequence, (target) => {
          const moved = elsewhere(target, rng);
          const { raises = 0, versus = 0 } = target;
          return rng.below(2) === 0 ? moved : { ...moved, raises: versus, versus: raises };
        }),
      );
    case 'copy_suppression':
    case 'successor':
      return each((sequence) => ({
        ...sequence,
        labels: permuted(sequence.labels ?? [], probe, rng),
      }));
    case 'arithmetic': {
      const operands = rng.shuffle(sequences.map((sequence) => sequence.operands));
      return {
        ...probe,
        sequences: sequences.map((sequence, i) => {
          const dealt = operands[i];
          return dealt ? { ...sequence, operands: dealt } : sequence;
        }),
      };
    }
    case 'thematic_anchor':
      return each((sequence) => {
        const far = Math.max(...sequence.targets.flatMap(({ sources }) => sources));
        const count = sequence.targets[0].sources.length;
        const places = Array.from(
          { length: far + 1 - sequence.prefix },
          (_, i) => sequence.prefix + i,
        );
        const sources = rng.shuffle(places).slice(0, count);
        const topic = rng.below(probe.topics?.length ?? 1);
        return { ...withTargets(sequence, (target) => ({ ...target, sources })), topic };
      });
    default:
      return unreachable(detector);
  }
}

function withTargets(
  sequence: ProbeSequence,
  change: (target: ProbeTarget) => ProbeTarget,
): ProbeSequence {
  return { ...sequence, targets: sequence.targets.map(change) };
}

/** As many sources at random places up to the target. */
function elsewhere(target: ProbeTarget, rng: Rng): ProbeTarget {
  return { ...target, sources: target.sources.map(() => rng.below(target.position + 1)) };
}

/** Labels change places among those that there are; successors are drawn from all items, because a stretch's own are all near. */
function permuted(labels: readonly number[], { candidates }: Probe, rng: Rng): number[] {
  const dealt = rng.shuffle(labels.filter((label) => label >= 0));
  let next = 0;
  return labels.map((label) => {
    if (label < 0) return label;
    return candidates ? rng.pick(candidates) : dealt[next++];
  });
}
