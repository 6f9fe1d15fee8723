/** Every number that bounds the engine, and the accident that it prevents. */

/** Plans waiting for one engine. Beyond it callers hear `resource_exhausted` instead of waiting for minutes. */
export const QUEUED_PLANS_MAX = 1024;

/** Steps whose outputs may wait for a slow `onStep`, so that a full forward with all hooks never piles up in memory. */
export const STEPS_AHEAD_MAX = 2;

/** What a session costs beside its weights: graph, kernels and execution plan; measured 0.3 MiB for a block. */
export const SESSION_OVERHEAD_BYTES = 512 * 1024;

/** Sessions that one engine keeps open when the caller says nothing: the weights of a 1B model in fp32. */
export const CACHE_BYTES_DEFAULT = 4 * 1024 ** 3;

/** Crashes in a row, with no plan finished between them, after which the engine stops starting workers. */
export const CRASHES_MAX = 3;

/** How long a closing engine waits for the step that is running, which nothing can interrupt. */
export const CLOSE_TIMEOUT_MS = 10_000;

/** ONNX Runtime's words in an error; a shape dump of a large graph can be longer than anybody reads. */
export const ERROR_TEXT_MAX = 2000;
