import { assert } from '@heddle/core';
import { showShape } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import { parameterNames, parameterShape } from './lorsa-weights.ts';
import { stateFeeds } from './state-feeds.ts';
import type { StateTensors } from './train-backend.ts';

/** Asserts that a state has every parameter with its moments, in the config's shapes. */
export function requireState(config: LorsaConfig, tensors: StateTensors): void {
  for (const name of parameterNames(config)) {
    for (const feed of Object.values(stateFeeds(name))) {
      const found = tensors[feed];
      assert(found, () => `the state lacks ${feed}`);
      const shape = showShape(parameterShape(config, name));
      assert(showShape(found.shape) === shape, () => `${feed} is ${showShape(found.shape)}`);
    }
  }
}

/** The same numbers in memory of their own. */
export function copyState(tensors: StateTensors): StateTensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [name, { ...t, data: t.data.slice() }]),
  );
}
