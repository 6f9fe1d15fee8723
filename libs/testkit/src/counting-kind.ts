import { createHash } from 'node:crypto';
import type { JobKind } from '@heddle/actor';
import type { Json } from '@heddle/core';

export interface CountRequest {
  readonly [name: string]: Json;
  readonly seed: number;
  readonly steps: number;
  /** A checkpoint after so many steps. */
  readonly every: number;
  readonly stepMs: number;
}

/** Told of each step that was computed, also of those computed in vain. */
export type OnStep = (job: string, step: number) => void;

/**
 * A training in miniature: a chain of hashes in which every step needs the one before, so that a result can only be
 * right if each step was done once on the state that the one before left.
 */
export function countingKind(onStep: OnStep = () => undefined): JobKind<CountRequest, null> {
  return {
    kind: 'count.steps',
    split: () => [{ input: null }],
    async run({ job, request }, context) {
      const saved = await context.load();
      let chain = saved === undefined ? `${request.seed}` : new TextDecoder().decode(saved.bytes);
      for (let step = saved?.cursor ?? 0; step < request.steps; ) {
        await context.clock.sleep(request.stepMs, context.signal);
        const snapshot = { bytes: new TextEncoder().encode(chain), cursor: step };
        await context.pulse(() => snapshot);
        chain = link(chain);
        step += 1;
        onStep(job, step);
        context.progress({ done: step, total: request.steps, unit: 'steps' });
        if (step % request.every === 0 && step < request.steps) {
          await context.save({ bytes: new TextEncoder().encode(chain), cursor: step });
        }
      }
      return { bytes: new TextEncoder().encode(chain), provenance: { seed: request.seed } };
    },
  };
}

/** What the job must end with, computed without one. */
export function countingResult({ seed, steps }: { seed: number; steps: number }): string {
  let chain = `${seed}`;
  for (let step = 0; step < steps; step++) chain = link(chain);
  return chain;
}

function link(chain: string): string {
  return createHash('sha256').update(chain).digest('hex').slice(0, 16);
}
