export * from './activations/index.ts';
export * from './corpus/index.ts';
export { type JsonlLine, readJsonl, writeJsonl } from './jsonl/read-jsonl.ts';
export * from './lorsa-checkpoint/index.ts';
export {
  dtypeOf,
  parseSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsHeader,
  safetensorsHeaderBytes,
  type TensorEntry,
} from './safetensors/header.ts';
export { readSafetensors, type Safetensors } from './safetensors/read-safetensors.ts';
export {
  type SafetensorsLayout,
  type TensorShape,
  writeSafetensors,
} from './safetensors/write-safetensors.ts';
