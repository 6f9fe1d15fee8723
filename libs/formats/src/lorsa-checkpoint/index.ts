export {
  LORSA_CONFIG_FILE,
  LORSA_WEIGHTS_FILE,
  type LorsaCheckpoint,
  type LorsaCheckpointParts,
  lorsaTensorShapes,
  readLorsaCheckpoint,
  writeLorsaCheckpoint,
} from './lorsa-checkpoint.ts';
export {
  expansionFactor,
  type LorsaConfigJson,
  ovHeadsOf,
  readLorsaConfigJson,
  writeLorsaConfigJson,
} from './lorsa-config-json.ts';
