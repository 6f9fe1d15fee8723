import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { programOf } from '@heddle/adapters/hub';
import { WasmKernels } from '@heddle/adapters/kernels';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { GraphBuilder } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import {
  drawBatch,
  drawUpdate,
  loadAll,
  sizesOf,
} from '../../libs/adapters/src/kernels/kernel-cases.ts';
import { adamCorrections, adamGraph, adamInputs } from '../../libs/interp/src/lorsa/adam.ts';

const closing: { close(): Promise<void> }[] = [];
after(() => Promise.all(closing.map((one) => one.close())));

const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
/** d_model 37 and 21 heads: no tensor is a multiple of a lane. */
const CASE = { d_model: 37, n_ov_heads: 21, n_qk_heads: 3, batch: 2, pos: 11, slots: 4 };

const scalar = (value: number): Tensor => tensor('f32', [], Float32Array.of(value));

test('given the same gradient, Adam in the kernels leaves the bits of Adam in the graph', async () => {
  const engine = await OrtEngine.start();
  const kernels = await new WasmKernels().open(sizesOf(CASE));
  closing.push(engine, kernels);
  const g = new GraphBuilder('adam');
  const [p, m, v, slope] = ['p', 'm', 'v', 'slope'].map((name) => g.input(name, 'f32', ['pos']));
  assert.ok(p && m && v && slope);
  const next = adamGraph(g, adamInputs(g), { p, m, v }, slope);
  for (const [name, value] of Object.entries(next)) g.output(`next_${name}`, value);
  const program = programOf(undefined, g.build());
  const rng = new Rng(9);
  await loadAll(rng, CASE, [kernels]);

  for (const step of [1, 2, 1000]) {
    const { first: correction1, second: correction2 } = adamCorrections(ADAM, step);
    await kernels.backward(drawBatch(rng, CASE));
    const drawn = drawUpdate(rng, kernels, Number.POSITIVE_INFINITY);
    const update = { ...drawn, ...ADAM, correction1, correction2, rate: 3e-4 };
    const gradients = { ...update.dense, ...(await kernels.rowGradients()) };
    const numbers = { learning_rate: scalar(update.rate), beta1: scalar(ADAM.beta1) };
    const corrections = { correction1: scalar(correction1), correction2: scalar(correction2) };
    const moved = new Map<string, ArrayLike<number>>();
    for (const [name, gradient] of Object.entries(gradients)) {
      const flat = (t: Tensor | undefined) => {
        assert.ok(t, name);
        return tensor('f32', [t.data.length], Float32Array.from(t.data as Float32Array));
      };
      const state = {
        p: flat(kernels.state[name]),
        m: flat(kernels.state[`adam_m.${name}`]),
        v: flat(kernels.state[`adam_v.${name}`]),
      };
      const feeds = { ...state, slope: flat(gradient), ...numbers, ...corrections };
      const [outputs] = await engine.run({
        steps: [
          {
            program,
            feeds: { ...feeds, beta2: scalar(ADAM.beta2), epsilon: scalar(ADAM.epsilon) },
            keep: ['next_p', 'next_m', 'next_v'],
          },
        ],
      });
      moved.set(name, outputs?.['next_p']?.data as Float32Array);
      moved.set(`adam_m.${name}`, outputs?.['next_m']?.data as Float32Array);
      moved.set(`adam_v.${name}`, outputs?.['next_v']?.data as Float32Array);
    }

    await kernels.update(update);

    assert.equal(moved.size, Object.keys(kernels.state).length);
    for (const [name, data] of moved) {
      assert.deepEqual(Array.from(kernels.state[name]?.data ?? []), Array.from(data), name);
    }
  }
});
