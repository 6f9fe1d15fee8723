import { type Graph, interpret } from '@heddle/onnx';
import type { Tensor } from '@heddle/tensor';
import type { GraphEngine } from './train-backend.ts';

type Outputs = Readonly<Record<string, Tensor>>;

/** An engine that interprets graphs in fp64: for laws, where fp32's rounding would hide an error of a formula. */
export const interpretingEngine: GraphEngine<Graph> = {
  async run({ steps }, options = {}) {
    const all: Outputs[] = [];
    const kept: Outputs[] = [];
    for (const [index, { program, feeds, keep, into }] of steps.entries()) {
      options.signal?.throwIfAborted();
      const read = Object.entries(feeds).map(([name, feed]) => [
        name,
        'step' in feed ? all[feed.step][feed.output] : feed,
      ]);
      const outputs = interpret(program, Object.fromEntries(read));
      all.push(outputs);
      for (const [name, target] of Object.entries(into ?? {})) {
        (target.data as Float64Array).set(outputs[name].data as Float64Array);
      }
      const own = Object.fromEntries(keep.map((name) => [name, outputs[name]]));
      kept.push(own);
      await options.onStep?.(index, own);
    }
    return options.onStep ? kept.map(() => ({})) : kept;
  },
};
