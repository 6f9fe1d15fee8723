/** What a run may bring into memory unless the caller says otherwise: half of a small laptop. */
export const RUN_BYTES_MAX = 4 * 2 ** 30;

/** Reading every weight of a large model from a slow disk; a hung server is found by keepalive before. */
export const IMPORT_TIMEOUT_MS = 30 * 60_000;

/** How often a broken watch is taken up again before its error is the caller's; each try waits about a second. */
export const WATCH_RESUMES_MAX = 3;

/** An artifact read whole; larger ones are streamed to a file. */
export const ARTIFACT_BYTES_MAX = 256 * 2 ** 20;
