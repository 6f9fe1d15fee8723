/** Rewrites libs/onnx/src/gen/onnx-descriptor.ts from onnx.proto. Run from anywhere: `node proto/onnx/make-descriptor.ts` */
import { readFileSync, writeFileSync } from 'node:fs';
import protobuf from 'protobufjs';

const proto = readFileSync(new URL('./onnx.proto', import.meta.url), 'utf8');
const { root } = protobuf.parse(proto, { keepCase: true });
writeFileSync(
  new URL('../../libs/onnx/src/gen/onnx-descriptor.ts', import.meta.url),
  `/** proto/onnx/onnx.proto, parsed. Made by proto/onnx/make-descriptor.ts; do not edit. */\nexport const ONNX_DESCRIPTOR = ${JSON.stringify(root.toJSON(), null, 2)};\n`,
);
