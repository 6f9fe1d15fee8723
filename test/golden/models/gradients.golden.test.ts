/** A block's vector-Jacobian product, as a graph program beside the model, against central differences in fp64. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { buildSegment, type GraphProgram, PLAIN, rotaryTables } from '@heddle/models';
import { interpret, vjp } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { GOLDEN_MODELS, openGolden } from './golden-model.ts';

const [POS, STEP, TOLERANCE] = [4, 1e-4, 1e-8];

/** d⟨cotangent, resid_post⟩ / d resid_pre. */
const backward: GraphProgram = {
  name: 'backward',
  needs: ['blocks.0.hook_resid_pre', 'blocks.0.hook_resid_post'],
  build(g, at) {
    const [pre, post] = [at('blocks.0.hook_resid_pre'), at('blocks.0.hook_resid_post')];
    const cotangent = g.input('cotangent', 'f32', post.shape);
    const [gradient] = vjp(g, [post], [cotangent], [pre]);
    assert.ok(gradient);
    g.output('gradient', gradient);
  },
};

for (const name of GOLDEN_MODELS) {
  test(`${name}: the gradient through a block equals central differences`, async () => {
    const { model, weight } = await openGolden(name);
    const { d_model, positions } = model.config;
    const rng = new Rng(1);
    const shape = [1, POS, d_model];
    const random = () =>
      tensor(
        'f64',
        shape,
        Float64Array.from({ length: POS * d_model }, () => rng.normal()),
      );
    const [x, cotangent, direction] = [random(), random(), random()];
    const tables = positions.kind === 'rotary' ? rotaryTables(positions, POS) : undefined;
    const fixed = tables ? { rotary_cos: tables.cos, rotary_sin: tables.sin } : {};
    const segment = { kind: 'block', layer: 0 } as const;
    const graph = buildSegment(model, segment, { ...PLAIN, programs: [backward] });
    const run = (resid_in: Tensor) =>
      interpret(graph, { ...fixed, resid_in, cotangent }, { weights: weight });
    const moved = (by: number) => {
      const data = x.data.map((value, i) => value + by * (direction.data[i] as number));
      const post = run(tensor('f64', shape, data))['resid_out'] as Tensor<'f64'>;
      return post.data.reduce((sum, value, i) => sum + value * (cotangent.data[i] as number), 0);
    };

    const gradient = run(x)['gradient'] as Tensor<'f64'>;

    const slope = gradient.data.reduce(
      (sum, value, i) => sum + value * (direction.data[i] as number),
      0,
    );
    // Fourth order: peaked attention has third derivatives that the plain difference would show.
    const near = moved(STEP) - moved(-STEP);
    const far = moved(2 * STEP) - moved(-2 * STEP);
    const expected = (8 * near - far) / (12 * STEP);
    assert.ok(
      Math.abs(slope - expected) <= TOLERANCE * Math.max(1, Math.abs(expected)),
      `${slope} for ${expected}`,
    );
  });
}
