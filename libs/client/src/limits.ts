/** What a run may bring into memory unless the caller says otherwise: half of a small laptop. */
export const RUN_BYTES_MAX = 4 * 2 ** 30;

/** Reading every weight of a large model from a slow disk; a hung server is found by keepalive before. */
export const IMPORT_TIMEOUT_MS = 30 * 60_000;

/** How often a broken watch is taken up again at once; a process that was told to stop has a successor already. */
export const WATCH_RESUMES_MAX = 3;

/** A front door or a service that is started again, with room for a slow machine; its job goes on meanwhile. */
export const WATCH_PATIENCE_MS = 60_000;
export const WATCH_PAUSE_MS_MIN = 250;
export const WATCH_PAUSE_MS_MAX = 4_000;

/** A stream that lived so long was not broken when it began: what breaks it later is another break. */
export const WATCH_HEALTHY_MS = 10_000;

/** An artifact read whole; larger ones are streamed to a file. */
export const ARTIFACT_BYTES_MAX = 256 * 2 ** 20;

/** Bytes of one part of an upload: a quarter of what the server takes, so that progress is smooth on a slow line. */
export const UPLOAD_CHUNK_BYTES = 256 * 2 ** 10;

/** How often in a row an upload is begun again without a byte going through. */
export const UPLOAD_RESUMES_MAX = 5;

/** The index of a sharded checkpoint. */
export const INDEX_BYTES_MAX = 64 * 2 ** 20;
