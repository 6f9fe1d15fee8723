/**
 * Tasks of one trace; more prompts share tasks. Enough to keep every worker busy, few enough for
 * one journal.
 */
export const TASKS_MAX = 256;

/** Prompts of one trace, as the contract says. */
export const PROMPTS_MAX = 1_024;
export const DATASET_MAX = 10_000;

/** Words that a trace explains together, and against. */
export const TARGETS_MAX = 64;

/**
 * Graphs in a summary, and strongest edges of each; the artifact has all of them. 64 of 10 edges
 * are 100 KB.
 */
export const GRAPHS_SHOWN = 64;
export const EDGES_SHOWN = 10;

/**
 * Edges ablated in one run: copies of the prompt, one intervention each. The server takes 256
 * interventions.
 */
export const ABLATIONS_PER_RUN = 64;

/** Nodes of a graph at the dynamic threshold, of the size that a model of 100 M parameters has: for estimates. */
export const NODES_TYPICAL = 100;
