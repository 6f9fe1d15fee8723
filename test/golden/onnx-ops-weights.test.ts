import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { encodeModel, GraphBuilder, interpret } from '@heddle/onnx';
import { narrowF16, type Tensor, tensor, toBytes } from '@heddle/tensor';

let engine: OrtEngine;
let folder: string;
before(async () => {
  engine = await OrtEngine.start({ providers: ['cpu'], threads: 1 });
  folder = mkdtempSync(join(tmpdir(), 'heddle-weights-'));
});
after(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const SHAPE = [5, 7] as const;
const HEADER_BYTES = 13; // safetensors aligns nothing: offsets are odd as often as not

/** Random weights in a stored type. */
function stored(dtype: 'f32' | 'f16' | 'bf16', rng: Rng): Tensor {
  const values = Float32Array.from({ length: 35 }, () => rng.normal());
  if (dtype === 'f32') return tensor('f32', SHAPE, values);
  if (dtype === 'f16') return tensor('f16', SHAPE, narrowF16(values));
  const upper = new Uint32Array(values.buffer).map((bits) => bits >>> 16);
  return tensor('bf16', SHAPE, Uint16Array.from(upper));
}

for (const dtype of ['f32', 'f16', 'bf16'] as const) {
  test(`${dtype} weights are read in place, at an unaligned offset, to their exact values`, async () => {
    const weight = stored(dtype, new Rng(5));
    const bytes = toBytes(weight);
    writeFileSync(join(folder, `${dtype}.bin`), Buffer.concat([Buffer.alloc(HEADER_BYTES), bytes]));
    const g = new GraphBuilder(dtype);
    const x = g.input('x', 'f32', ['pos', 7]);
    const location = { file: `${dtype}.bin`, offset: HEADER_BYTES, length: bytes.length };
    const W = g.weight('W', dtype, SHAPE, location);
    g.output('W_read', g.mul(W, 1));
    g.output('y', g.linear(x, W, { transW: true }));
    const graph = g.build();
    const feeds = {
      x: tensor(
        'f32',
        [2, 7],
        Float32Array.from({ length: 14 }, (_, i) => i / 7),
      ),
    };

    const program = {
      digest: dtype,
      bytes: encodeModel(graph),
      weightsDirectory: folder,
      residentBytes: 1000,
    };
    const plan = { steps: [{ program, feeds, keep: ['W_read', 'y'] }] };
    const [actual] = await engine.run(plan);
    const expected = interpret(graph, feeds, { weights: () => weight });

    assert.deepEqual([...(actual?.['W_read']?.data ?? [])], [...(expected['W_read']?.data ?? [])]);
    expected['y']?.data.forEach((value, i) => {
      // Seven terms below 4, each rounded twice at 6e-8.
      assert.ok(Math.abs(Number(actual?.['y']?.data[i]) - Number(value)) <= 4e-6);
    });
  });
}
