/** Slots per token for activations without a K (relu, jumprelu): published dictionaries are active on a few hundred at most; more is refused, never cut. */
export const ACTIVE_MAX = 512;

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
