/** Slots per token for activations without a K (relu, jumprelu): published dictionaries are active on a few hundred at most; more is refused, never cut. */
export const ACTIVE_MAX = 512;

/** Entries of a z-pattern below this share of the activation are not shown (post_analysis/lorsa.py of the authors). */
export const DISPLAY_SHARE = 1e-2;

/** Active on more than this share of tokens: "dense" (methods 1.8). */
export const DENSE_FREQUENCY = 0.1;

/** Top activations kept per head: eight are shown, and more than 64 nobody reads. */
export const SAMPLES_MAX = 64;

/** Activations per head drawn evenly from all: a quantile is known to ±0.5/√64 = 6 %. */
export const RESERVOIR_DEFAULT = 64;

/** Tokens counted per head and side; what a card shows is a handful, what a rule reads is `RULE_TOKENS`. */
export const TOKENS_DEFAULT = 64;

/** Tokens per side in a rule: what a person would read on a card, and the same number for SAE features. */
export const RULE_TOKENS = 32;

/** A rule's rate is pulled to the head's mean rate by so many tokens' worth: two sightings are no law. */
export const RULE_PRIOR_TOKENS = 5;

/** Valid tokens on which rules are scored: about 20 µs per head and thousand of them, so 6,144 heads and their controls take seconds. */
export const HELD_OUT_TOKENS_MAX = 32_768;

/** Fewer active tokens than this give no area worth a number. */
export const AUROC_ACTIVE_MIN = 5;

/** Rows of a probe that a detector adds as evidence against: a score is mean · rows / (rows + 4). */
export const PRIOR_ROWS = 4;
