export {
  type ActivationCounts,
  type ActivationHook,
  type ActivationManifest,
  type ActivationShard,
  countShards,
  readActivationManifest,
  shardBlobs,
  TOKENS_BLOB,
  writeActivationManifest,
} from './activation-manifest.ts';
export {
  DOCUMENT_DIGEST_BYTES,
  decodeHookShard,
  decodeTokensShard,
  encodeHookShard,
  encodeTokensShard,
  type TokensShard,
} from './activation-shard.ts';
