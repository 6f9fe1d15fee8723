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

/**
 * Input and target of the shards that are in memory together, fp32; the next ones are loaded beside them. Half of what a
 * process beside a host and its weights can spare. The order of sequences follows from it: it stands in checkpoints.
 */
export const GROUP_BYTES = 512 * 2 ** 20;

/** Tokens on which the mean norms are measured: a few batches, their mean is good to a thousandth. */
export const NORM_TOKENS = 65_536;

/** Tokens that the initialisation looks at … */
export const INITIAL_SAMPLE_TOKENS = 4096;

/** … and pre-activations of them, which leave the engine: 256 MiB. */
export const INITIAL_SAMPLE_ENTRIES = 2 ** 26;

/** Held-out tokens that the result is measured on, spread evenly: FVU is then good to about one percent of itself. */
export const HELD_OUT_TOKENS = 131_072;

/** Pre-activations of one evaluation inside the engine: 256 MiB. */
export const EVALUATION_ENTRIES = 2 ** 26;

/** Tokens of silence that single precision still counts to. */
export const DEAD_TOKENS_MAX = 2 ** 24;

/** Points of the curve in a result and, until then, in checkpoints. */
export const CURVE_POINTS = 200;

/** Steps sent to the engine in one plan: state stays in the engine, and a cancel is heard between steps anyway. */
export const PLAN_STEPS = 8;

/** Feeds of one plan, copied to the engine at once. */
export const PLAN_BYTES_MAX = 64 * 2 ** 20;

/**
 * Unless the request says otherwise a checkpoint comes each so many steps, and not before so much time: steps of a small
 * layer take milliseconds, and a checkpoint a second was a twentieth of a cluster's processor time.
 */
export const CHECKPOINT_STEPS = 50;
export const CHECKPOINT_APART_MS = 5_000;

/** A head that was silent this long is dead (methods 1.8) … */
export const DEAD_TOKENS = 10_000_000;

/** … or, in a training too short for that, silent for this share of its tokens. */
export const DEAD_SHARE = 0.5;

/** Dead heads that explain the rest of one token, unless the request says otherwise (methods 1.8). */
export const AUXILIARY_TOP_K = 512;

/** Parameters beyond which weights, moments and gradients (16 bytes each) do not fit beside a host in 16 GiB. */
export const PARAMETERS_MAX = 500_000_000;

/** A checkpoint file that Apply reads. */
export const CHECKPOINT_BYTES_MAX = 2 ** 32;

/** Trainings of one sweep: a table that a person can read, and an hour of trainings of a quarter of a minute. */
export const SWEEP_POINTS_MAX = 256;

/** Sweeps that wait at a time: waiting costs nothing, and no training waits for them. */
export const SWEEPS_WAITING = 16;
