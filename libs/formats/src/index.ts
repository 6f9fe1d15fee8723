export { type JsonlLine, readJsonl, writeJsonl } from './jsonl/read-jsonl.ts';
export * from './lorsa-checkpoint/index.ts';
export {
  dtypeOf,
  parseSafetensorsHeader,
  SAFETENSORS_BITS,
  type SafetensorsDType,
  type SafetensorsHeader,
  safetensorsHeaderBytes,
  type TensorEntry,
} from './safetensors/header.ts';
export { decodeTensor, readSafetensors, type Safetensors } from './safetensors/read-safetensors.ts';
export {
  layoutSafetensors,
  type SafetensorsLayout,
  type TensorShape,
  writeSafetensors,
} from './safetensors/write-safetensors.ts';
