/** Every number that bounds this service, and the accident that it prevents. */

/** Prompts of one request; more are another request. */
export const PROMPTS_MAX = 1024;
/** Bytes of a prompt's id, which comes back with every tensor of it. */
export const PROMPT_ID_BYTES_MAX = 128;
/** UTF-8 bytes of one text; the tokenizer's own bound on characters is close by. */
export const TEXT_BYTES_MAX = 1024 * 1024;
/** Hook patterns of one request; a 100-layer model has 2,200 points in all. */
export const HOOKS_MAX = 4096;
/** Interventions of one request: each is folded on the host. */
export const INTERVENTIONS_MAX = 256;

/** Bytes that one request may stream. Beyond it the caller wants positions, fewer hooks, or several requests. */
export const RUN_BYTES_MAX = 8 * 1024 ** 3;
/** Memory that one batch may take in the engine: outputs and the widest intermediate. */
export const BATCH_BYTES_MAX = 2 * 1024 ** 3;
/** Padded tokens of one batch: past 1024 a batch gains no speed on a CPU and only takes memory. */
export const BATCH_TOKENS_MAX = 1024;
/** Prompts of one batch: as many short ones as still make one matrix product worth its call. */
export const BATCH_PROMPTS_MAX = 64;

/** Results of one request that wait for a slow reader: an eighth of the room, so that a few of them do not take all of it. */
export const HELD_BYTES_MAX = 64 * 1024 ** 2;
/** Results of all requests together, computed or about to be. */
export const REPLY_ROOM_BYTES_MAX = 512 * 1024 ** 2;
/** Prompts that wait for the engine, of all callers together: what they are takes memory, however quick they would be. */
export const WAITING_PROMPTS_MAX = 4096;
/** How long an accepted run may wait for the engine: longer, and somebody else's replica would have been the better answer. */
export const WAITING_MS_MAX = 5000;
/** What of it is given away by estimate; the rest is for what the estimate misses. */
export const WAITING_MS_ADMITTED = 4000;
/** A step's feeds, call and outputs, in floating-point operations that would take as long. */
export const STEP_FLOPS = 1e6;
/** When a refused caller should ask again: when what waits is done by estimate, within these. */
export const RETRY_AFTER_MS_MIN = 200;
export const RETRY_AFTER_MS_MAX = 30_000;
/** How long texts may wait to be read, by estimate: it is the event loop's time, which calls and refusals of others need too. */
export const TEXT_WAITING_MS_MAX = 1000;
/** Texts that are read as they come: two milliseconds, and the questions that a job asks on its way must not wait behind books. */
export const TEXT_AT_ONCE_BYTES = 2048;
/** Reading of texts between two turns of the event loop; a longer text takes as long as it takes. */
export const TEXT_SLICE_MS = 10;

/** Models whose tables stay open: config, tensor names, digest; no weights. */
export const MODELS_OPEN_MAX = 32;
/** Registered names. */
export const MODELS_NAMED_MAX = 1024;
/** Encoded graphs kept for new plans; 40 kB each. */
export const PROGRAMS_MAX = 1024;
/** A source: a path or a hub reference. */
export const SOURCE_BYTES_MAX = 4096;
/** Of the request in a result's provenance; a longer one cannot be reproduced from it, and is left out whole. */
export const PROVENANCE_REQUEST_BYTES_MAX = 1024 * 1024;

/** Bytes of one corpus: read once to be hashed and indexed, some 10 s a gibibyte, before its job is accepted. */
export const CORPUS_BYTES_MAX = 4 * 1024 ** 3;
/** Files of one corpus. */
export const CORPUS_FILES_MAX = 10_000;
/** Folders within each other of one corpus; a link never leads further. */
export const CORPUS_DEPTH_MAX = 8;
/** Indexes of corpora that are kept, each some hundred kilobytes a gibibyte. */
export const CORPORA_MAX = 8;
/** Prompts in a request instead of a corpus, as bytes; what a gRPC message holds. */
export const CACHE_PROMPTS_BYTES_MAX = 3 * 1024 ** 2;

/** Tokens of a cached sequence unless the request says otherwise. */
export const CACHE_CONTEXT = 128;
/** Tokens of a pass at least: one side of the corpus then has a sequence. */
export const CACHE_TOKENS_MIN = 32;
/** Tokens of a cached sequence at most: the trainer's own bound. */
export const CACHE_CONTEXT_MAX = 4096;
/** Hook points of one activation pass: input and output of each layer of a 100-layer model, and some more. */
export const CACHE_HOOKS_MAX = 256;
/** Padded tokens of one shard: 256 sequences of 128. A lost shard is this much work done again. */
export const SHARD_TOKENS_MAX = 32_768;
/** Sequences of one shard: what one run takes. */
export const SHARD_SEQUENCES_MAX = PROMPTS_MAX;
/** Bytes of one shard at one hook: what a reader must hold to look at a sequence. */
export const SHARD_HOOK_BYTES_MAX = 64 * 1024 ** 2;
/** Bytes of one shard at all its hooks: what a worker holds while it fills it. */
export const SHARD_BYTES_MAX = 512 * 1024 ** 2;
/** Tokens of one task, about: a minute of a small model on one core; workers share a job task by task … */
export const TASK_TOKENS = 131_072;
/** … and of a large one: half a minute of a laptop's core, seconds of a server's, so that none waits long for the last. */
export const TASK_FLOPS = 5e11;
/**
 * A pass has so many tasks at least, whatever the model: with seven, two workers wait a tenth of the time for the last. Each
 * costs tens of milliseconds beside the engine (journal, queue, its shard's blobs) …
 */
export const TASKS_SHARED = 16;
/** … so that none is made smaller for that than ten seconds of a laptop's core. */
export const SHARED_TASK_FLOPS = 2e11;
/** Tasks of one side of a corpus; past them tasks grow. */
export const TASKS_MAX = 128;
/** Stretches that `tokens_max` is spread over: every one is begun in another place of the corpus. */
export const STRETCHES_MAX = 256;
/** Sequences of one such stretch at least. */
export const STRETCH_SEQUENCES_MIN = 8;
/** Bytes of text that a token stands for, to estimate by before there are tokens. */
export const BYTES_PER_TOKEN = 4;
/** Bytes of one activation pass, and of all that are kept: more than half of the store's default budget of 50 GiB. */
export const CACHE_BYTES_MAX = 32 * 1024 ** 3;
/** Blobs of one pass: their names go into one journal event of 512 KiB. */
export const CACHE_BLOBS_MAX = 6000;
/** Of these, what the division into tasks may cost: every task begins a shard. */
export const TASK_BLOBS_MAX = 1500;
/** Floating-point operations a second that a time is estimated by: one core of a laptop. */
export const CACHE_FLOPS = 2e10;
/** Jobs looked through for the same question. */
export const CACHE_JOBS_MAX = 1000;
/** Of tokenizer.json, as its adapter bounds it. */
export const TOKENIZER_BYTES_MAX = 64 * 1024 ** 2;
/** Blobs that one result names at most, however the estimate was wrong: what a journal event of 512 KiB holds. */
export const REFERENCES_MAX = 7000;
/** Bytes of one part of an upload: what a gRPC message of ours may hold, with room. */
export const UPLOAD_CHUNK_BYTES_MAX = 1024 ** 2;
/** How often the same import may end without its name before a client key is asked for. */
export const IMPORTS_SAME_MAX = 100;
/** How long the blobs of an upload wait for its import: a slow line takes hours for a large model. */
export const UPLOAD_KEPT_MS = 24 * 3_600_000;
/** Uploads begun within that time. */
export const UPLOADS_MAX = 1000;
