/** Rank-one heads of one layer: what the contract allows, 64 thousand. */
export const OV_HEADS_MAX = 65_536;

/** Steps of one training: a day at ten a second. */
export const STEPS_MAX = 1_000_000;

/** Sequences per step. */
export const BATCH_MAX = 1024;

/** Tokens per sequence: a pattern has this squared entries per head and sequence. */
export const CONTEXT_MAX = 4096;

/** Prompts in one request; a larger corpus is a file. */
export const PROMPTS_MAX = 65_536;

/** Text of a corpus file that is read into memory. */
export const CORPUS_BYTES_MAX = 64 * 2 ** 20;

/** Sequences of one training: their activations must be in memory at once (see the next). */
export const SEQUENCES_MAX = 1_000_000;

/** Input and target of all sequences, fp32, in memory and as blobs. Larger needs streamed shards, a later issue. */
export const ACTIVATION_BYTES_MAX = 2 ** 30;

/** Sequences in one request to the activation server: a few MiB of answers at a time. */
export const CAPTURE_PROMPTS = 32;

/** Bytes that one such answer may have: 32 sequences of 4096 tokens at d_model 4096 would be more than this. */
export const CAPTURE_BYTES_MAX = 512 * 2 ** 20;

/** Sequences in one shard blob. */
export const SHARD_SEQUENCES = 256;

/** Steps sent to the engine in one plan: state stays in the engine, and a cancel is heard between steps anyway. */
export const PLAN_STEPS = 8;

/** Feeds of one plan, copied to the engine at once. */
export const PLAN_BYTES_MAX = 64 * 2 ** 20;

/** Steps between checkpoints unless the request says otherwise. */
export const CHECKPOINT_STEPS = 50;

/** A head that was silent this long is dead (methods 1.8) … */
export const DEAD_TOKENS = 10_000_000;

/** … or, in a training too short for that, silent for this share of its tokens. */
export const DEAD_SHARE = 0.5;

/** Parameters beyond which weights, moments and gradients (16 bytes each) do not fit beside a host in 16 GiB. */
export const PARAMETERS_MAX = 500_000_000;

/** Tensors of one Apply call, in and out: a `[8, 256, 4096]` input and its features fit. */
export const APPLY_BYTES_MAX = 2 ** 30;

/** Multiply-adds of one sequence on the fp64 twin, about three seconds: nothing else is heard in that time. */
export const APPLY_SEQUENCE_WORK_MAX = 3e9;

/** Multiply-adds of one Apply, about a minute: longer inputs are refused with the estimate. */
export const APPLY_WORK_MAX = 6e10;

/** A checkpoint file that Apply reads. */
export const CHECKPOINT_BYTES_MAX = 2 ** 32;
