import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readLorsaCheckpoint, readSafetensors } from '@heddle/formats';
import { applyLorsa, layerFromCheckpoint } from '@heddle/interp/lorsa';
import type { Tensor } from '@heddle/tensor';

const variants = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

/**
 * The values are float64 on both sides. The rotary angles are not: the reference computes them in float32, 6e-8 of an
 * angle up to 9, which moves a score of order 10 by about 1e-6 of itself.
 */
const TOLERANCE = { rotary: 2e-5, none: 1e-11 };

test('every variant of the published format is here', () => {
  assert.equal(variants.length, 14);
});

for (const name of variants) {
  test(`${name}: activations and reconstruction are torch's, with the same active set`, () => {
    const open = (file: string) => readFileSync(`${import.meta.dirname}/${name}/${file}`);
    const config = open('config.json').toString();
    const weights = readSafetensors('sae_weights.safetensors', open('sae_weights.safetensors'));
    const values = readSafetensors('values.safetensors', open('values.safetensors'));
    assert.equal(values.header.metadata.get('command'), 'python make.py');
    const layer = layerFromCheckpoint(readLorsaCheckpoint(config, weights));
    const real = (key: string) => values.tensor(key) as Tensor<'f32' | 'f64'>;

    const applied = applyLorsa(layer, real('x'), real('y'));

    const tolerance = layer.config.rotary ? TOLERANCE.rotary : TOLERANCE.none;
    const compare = (key: string, actual: Tensor<'f64'>) => {
      const expected = real(key);
      assert.deepEqual(actual.shape, expected.shape);
      const largest = Array.from(expected.data).reduce((m, v) => Math.max(m, Math.abs(v)), 1);
      const worst = actual.data.reduce((m, v, at) => {
        return Math.max(m, Math.abs(v - (expected.data[at] ?? Number.NaN)));
      }, 0);
      assert.ok(worst / largest <= tolerance, `${key}: ${worst} of ${largest}`);
    };
    compare('pattern', applied.pattern);
    compare('feature_acts', applied.featureActs);
    compare('reconstruction', applied.reconstruction);
    const active = (t: Tensor<'f32' | 'f64'>) => Array.from(t.data, (z) => z !== 0);
    assert.deepEqual(active(applied.featureActs), active(real('feature_acts')));
  });
}
