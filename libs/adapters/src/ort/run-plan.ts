import type { WireFeed, WireStep } from './protocol.ts';

/** An output is named by its step and its name: `3/resid_post`. */
export const outputKey = (step: number, output: string): string => `${step}/${output}`;

export const isReference = (
  feed: WireFeed,
): feed is { readonly step: number; readonly output: string } => 'step' in feed;

/** For each output that a later step reads, the last step that does: afterwards it can go. */
export function lastReads(steps: readonly WireStep[]): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  steps.forEach((step, index) => {
    for (const feed of Object.values(step.feeds)) {
      if (isReference(feed)) last.set(outputKey(feed.step, feed.output), index);
    }
  });
  return last;
}

/** What each step must fetch: what it keeps, what it writes into the caller's memory and what is read later, each once. */
export function fetchesOf(
  steps: readonly WireStep[],
  reads: ReadonlyMap<string, number>,
): readonly (readonly string[])[] {
  const fetches = steps.map((step) => new Set([...step.keep, ...Object.keys(step.into)]));
  for (const key of reads.keys()) {
    const slash = key.indexOf('/');
    fetches[Number(key.slice(0, slash))]?.add(key.slice(slash + 1));
  }
  return fetches.map((names) => [...names]);
}
