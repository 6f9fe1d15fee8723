/** Names of a parameter's state between steps: itself and Adam's moments, as feeds and in checkpoints. */
export const stateFeeds = <N extends string>(name: N) =>
  ({ p: name, m: `adam_m.${name}`, v: `adam_v.${name}` }) as const;

/** The output that holds a feed's value for the next step. */
export const nextName = (feed: string): string => `next.${feed}`;
