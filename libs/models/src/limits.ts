/**
 * Upper bounds of what a config may claim. Far above every published model; they keep a hostile config.json from asking for
 * an allocation or a loop of any size before a weight was looked at.
 */
export const CONFIG_MAX = {
  layers: 1024,
  heads: 4096,
  d_model: 131_072,
  d_mlp: 1_048_576,
  d_vocab: 4_194_304,
  n_ctx: 16_777_216,
} as const;

/** Nesting of a config.json: files in use nest three deep. Deeper JSON is an attack on the stack. */
export const CONFIG_DEPTH_MAX = 32;

/** Characters of a config.json or of a shard index: the largest published index (a thousand shards) has 6 MB. */
export const JSON_CHARS_MAX = 16 * 1024 * 1024;

/** Names that one hook list may give before globs are spread: more is a mistake or an attack on the matcher. */
export const HOOK_PATTERNS_MAX = 4096;

/** Characters of one pattern. The longest name has 40. */
export const HOOK_PATTERN_CHARS_MAX = 256;

/**
 * Floats of one score tensor `[batch, head, query_pos, key_pos]` above which attention is computed in query blocks, when
 * nobody asked for scores or pattern: 16 Mi floats are 64 MiB. One GPT-2-small block at 4,096 tokens takes 1,823 MiB and 3.3 s of
 * CPU whole, 396 MiB and 1.3 s in sixteen blocks (fewer products, and they stay in the cache).
 */
export const SCORE_FLOATS_PER_BLOCK = 16 * 1024 * 1024;

/** Query blocks of one layer at most: each adds some ten nodes to the graph. */
export const QUERY_BLOCKS_MAX = 256;

/** Interventions of one request: each is folded into feeds on the host. */
export const INTERVENTIONS_MAX = 100_000;

/** Files that one shard index may name: the largest published checkpoints have under two hundred. */
export const SHARDS_MAX = 4096;

/** Characters of a gradient's target: room for every term, far below what a reader or a log line would choke on. */
export const TARGET_CHARS_MAX = 16_384;

/** Terms of a gradient's target. Each logit is a row of the unembedding's product. */
export const TARGET_TERMS_MAX = 256;

/**
 * What a backward segment holds but for attention's scores, in units of its forward. Measured on one GPT-2-small block: 320 MiB of
 * 381 estimated at 1,024 tokens; at 4,096, in sixteen query blocks, 1,238 of 1,524.
 */
export const BACKWARD_MEMORY = 3;

/** Work of a backward segment, in units of its forward: that once more, and at most two products for each of its own. */
export const BACKWARD_FLOPS = 3;
