import { encodeModel, GraphBuilder } from '@heddle/onnx';

/** y = x + x: the smallest model that an execution provider must open and run to be believed. */
export function probeModel(): Uint8Array {
  const g = new GraphBuilder('probe');
  const x = g.input('x', 'f32', [1]);
  g.output('y', g.add(x, x));
  return encodeModel(g.build());
}
