/** Time, so that a test can move it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds on a clock that never goes back. */
  monotonic(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log; `child` binds fields (a job id) to every line after it. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(fields: LogFields): Log;
}

/** One line of a service's catalogue (`metrics.ts`): labels come from closed sets, never ids or prompts. */
export interface MetricSpec {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly unit: string;
  readonly help: string;
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  readonly buckets?: readonly number[];
}

export interface Metrics {
  /** Makes the catalogue known; recording a name outside of it is a programmer error. */
  register(catalogue: readonly MetricSpec[]): void;
  add(name: string, amount: number, labels?: Readonly<Record<string, string>>): void;
  set(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  observe(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** Prometheus text exposition. */
  text(): Promise<string>;
}

/** Progress for people: lost when nobody listens, and nothing depends on it. */
export interface Events {
  publish(subject: string, event: unknown): void;
  subscribe(
    prefix: string,
    signal: AbortSignal,
  ): AsyncIterable<{ readonly subject: string; readonly event: unknown }>;
}

export interface TokenizeOptions {
  readonly addSpecialTokens: boolean;
}

/** Text ↔ ids, as tokenizer.json says. */
export interface Tokenizer {
  encode(text: string, options: TokenizeOptions): readonly number[];
  decode(ids: readonly number[]): string;
  /** The string that one token stands for, as it reads in text. */
  token(id: number): string;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly vocabularySize: number;
}

/** A file that can be read in parts: how weights are reached, whatever the store. */
export interface RandomAccessFile {
  readonly path: string;
  readonly bytes: number;
  /** When it was last written, where the store knows: whoever reads it twice sees whether it is the same. */
  readonly modifiedMs?: number;
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A model's folder in HuggingFace layout, with links already resolved and checked to stay where they may. */
export interface ModelFolder {
  readonly path: string;
  /** Names of the files present. */
  readonly files: readonly string[];
  /** Names of the folders in it, where the store has any; links are none. Each is opened by its own path. */
  readonly folders?: readonly string[];
  readText(name: string, bytesMax: number): Promise<string>;
  open(name: string): Promise<RandomAccessFile>;
  /** Real folder and file name of a file, for ONNX's external data, which refuses links. */
  realLocation(name: string): Promise<{ readonly directory: string; readonly file: string }>;
  /** The files are no longer needed. Until then a cache keeps them where `realLocation` said. */
  release?(): void;
}

export interface HubOptions {
  readonly signal?: AbortSignal;
  /** Hash every byte of what lies in a cache, and fetch what is damaged once more. */
  readonly verify?: boolean;
}

/** Where models come from: folders under the allowed roots, and `content:…` out of the blob store by way of a local cache. */
export interface Hub {
  /**
   * Errors: `not_found`; `permission_denied` for a path outside the roots or a link that leaves its folder;
   * `resource_exhausted` when the cache has no room.
   */
  open(reference: string, options?: HubOptions): Promise<ModelFolder>;
}
