import { basename } from 'node:path';
import { invalidArgument, notFound, OperationError } from '@heddle/core';
import type { Clock, Hub, LoadedModel, ModelFolder, ModelStore, Tokenizer } from '@heddle/ports';
import { MODELS_OPEN_MAX, SOURCE_BYTES_MAX } from './limits.ts';
import type { ImportedContent, ModelNames, NamedModel } from './model-names.ts';
import type { ModelReading, OpenModel } from './open-model.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The bundled model's name, there without an import. */
const BUNDLED_NAME = 'bundled';

export interface RegistryDeps {
  readonly hub: Hub;
  readonly store: Pick<ModelStore, 'config' | 'load'>;
  readonly names: ModelNames;
  readonly openTokenizer: (folder: ModelFolder) => Promise<Tokenizer | undefined>;
  /** Folder of the bundled model. */
  readonly bundledModel: string;
  readonly clock: Clock;
  readonly onLoad?: (model: LoadedModel, seconds: number) => void;
}

interface Opened {
  readonly model: LoadedModel;
  readonly tokenizer: Tokenizer | undefined;
}

/** In the place of what a source is pinned to, before that is known. */
export const FORM_ONLY = 'content:';

/** Models by reference: the bundled one, registered names, and folders used in place. Each is read once and kept open. */
export class ModelRegistry {
  private readonly deps: RegistryDeps;
  /** By what was opened, the least recently used first. Promises, so that two callers read a model once. */
  private readonly opened = new Map<string, Promise<Opened>>();
  /** The same for what was only asked about text or hook points. */
  private readonly readings = new Map<string, Promise<ModelReading>>();

  constructor(deps: RegistryDeps) {
    this.deps = deps;
  }

  /** Errors: the hub's (`not_found`, `permission_denied`) and the reader's, naming file and tensor. */
  async open(reference: string): Promise<OpenModel> {
    checkSource(reference, 'model');
    if (reference === '' || reference === BUNDLED_NAME) {
      const opened = await this.read(this.deps.bundledModel);
      return { name: BUNDLED_NAME, bundled: true, importedMs: 0, ...opened };
    }
    const named = await this.named(reference);
    if (named) return this.openNamed(named);
    const opened = await this.read(reference).catch(notEvenAName(reference));
    return { name: reference, bundled: false, importedMs: 0, ...opened };
  }

  /**
   * What needs no weights, of a model of any size in the time that its small files take. A model that is open already is
   * asked, so that both say the same. Errors: those of `open`, but for what is wrong with weights.
   */
  async reading(reference: string): Promise<ModelReading> {
    checkSource(reference, 'model');
    const isBundled = reference === '' || reference === BUNDLED_NAME;
    const named = isBundled ? undefined : await this.named(reference);
    const source = isBundled ? this.deps.bundledModel : (named?.path ?? reference);
    const open = this.opened.get(source);
    if (open) return open;
    const known = this.readings.get(source) ?? this.readSmall(source);
    keepLast(this.readings, source, known);
    return named || isBundled ? known : known.catch(notEvenAName(reference));
  }

  /**
   * The named model that is meant: by its name, or the newest that was imported from that `hf:` reference, with any revision
   * where none is said. Errors: `not_found` for an `hf:` that nobody imported.
   */
  async named(reference: string): Promise<NamedModel | undefined> {
    const names = await this.deps.names.all();
    if (!reference.startsWith('hf:')) return names.get(reference);
    const imported = [...names.values()].filter(({ import: from }) => isFrom(from, reference));
    const newest = imported.sort((a, b) => b.importedMs - a.importedMs)[0];
    if (newest) return newest;
    throw notFound(`${reference} is not imported: \`heddle model add ${reference}\` fetches it`, {
      field: 'model',
      details: { import: reference }, // what a command of one's own does by itself
    });
  }

  /** What a model is, without a look at its files where they were looked at before. */
  async describe(reference: string): Promise<OpenModel | NamedModel> {
    checkSource(reference, 'model');
    const isBundled = reference === '' || reference === BUNDLED_NAME;
    const named = isBundled ? undefined : await this.named(reference);
    return named?.import ? named : this.open(reference);
  }

  /**
   * Has the files of an open model brought here and kept until the returned end: sessions are opened out of them at any time.
   * Errors: those of the hub.
   */
  async hold({ model }: OpenModel): Promise<() => void> {
    if (!model.path.startsWith('content:')) return () => {};
    const folder = await this.deps.hub.open(model.path);
    return () => folder.release?.();
  }

  /** What a model from `source` will be called. Errors: `invalid_argument`; `already_exists` where that is another source's. */
  async nameFor(source: string, name: string, pinned = source): Promise<string> {
    checkSource(source, 'source');
    if (source === '')
      throw invalidArgument('source is empty: a folder or hf:OWNER/NAME', { field: 'source' });
    if (name === '' && source.startsWith('content:')) {
      throw invalidArgument('name is empty, and what was uploaded has none of its own', {
        field: 'name',
      });
    }
    const wanted = name === '' ? defaultName(source) : name;
    if (!NAME.test(wanted) || wanted === BUNDLED_NAME) {
      throw invalidArgument(
        `${JSON.stringify(wanted)} is no name for a model: letters, digits, . _ -, at most 64, and not ${BUNDLED_NAME}`,
        { field: 'name' },
      );
    }
    const known = (await this.deps.names.all()).get(wanted);
    const other = known?.import && ![known.import.source, known.import.content].includes(pinned);
    if (known && other && pinned !== FORM_ONLY) {
      throw new OperationError({
        code: 'already_exists',
        message: `model ${wanted} is ${known.import?.source} already; remove it first or choose another name`,
        field: 'name',
      });
    }
    return wanted;
  }

  /** Reads every tensor of a content, then names it. Nothing is named when it fails. */
  async addContent(
    name: string,
    from: Omit<ImportedContent, 'info'>,
    infoOf: (open: OpenModel) => ImportedContent['info'],
  ): Promise<NamedModel> {
    const { content } = from;
    const opened = await this.read(content);
    const importedMs = this.deps.clock.now();
    const info = infoOf({ name, bundled: false, importedMs, ...opened });
    const { digest } = opened.model;
    const added = { name, path: content, digest, importedMs, import: { ...from, info } };
    return this.deps.names.add(added);
  }

  /** Reads all of a model, then names it. Nothing stays behind when it fails. */
  async add(source: string, name: string): Promise<OpenModel> {
    const wanted = await this.nameFor(source, name);
    this.readings.delete(source);
    this.opened.delete(source); // what was read before may have changed on disk
    const { model } = await this.read(source);
    const importedMs = this.deps.clock.now();
    const { path, digest } = model;
    return this.openNamed(await this.deps.names.add({ name: wanted, path, digest, importedMs }));
  }

  /** Errors: `not_found`. The files of a folder stay. */
  async remove(name: string): Promise<NamedModel> {
    const removed = await this.deps.names.remove(name);
    if (removed) return removed;
    throw notFound(`no model is named ${JSON.stringify(name)}`, { field: 'name' });
  }

  /** The bundled model and every named one; a named one whose files are gone is told apart by its error. */
  async list(): Promise<
    readonly (
      | OpenModel
      | NamedModel
      | { readonly named: NamedModel; readonly error: OperationError }
    )[]
  > {
    const names = [...(await this.deps.names.all()).values()];
    const bundled = await this.open('').catch(() => undefined);
    const rest = [];
    for (const named of names) {
      if (named.import) {
        rest.push(named);
        continue;
      }
      rest.push(
        await this.openNamed(named).catch((thrown: unknown) => ({
          named,
          error: OperationError.from(thrown),
        })),
      );
    }
    return bundled ? [bundled, ...rest] : rest;
  }

  private async openNamed(named: NamedModel): Promise<OpenModel> {
    const opened = named.import ? await this.readContent(named) : await this.read(named.path);
    if (opened.model.digest !== named.digest) {
      throw new OperationError({
        code: 'failed_precondition',
        message: `model ${named.name}: the files in ${named.path} are not the ones that were imported; remove the name and add it again`,
        field: 'model',
      });
    }
    return { name: named.name, bundled: false, importedMs: named.importedMs, ...opened };
  }

  /** What was right when it was imported, and is not now, has rotted in this machine's cache: it is looked through once, and read again. */
  private async readContent({ path, digest }: NamedModel): Promise<Opened> {
    const first = await this.read(path).catch((thrown: unknown) => OperationError.from(thrown));
    if (!(first instanceof OperationError) && first.model.digest === digest) return first;
    if (first instanceof OperationError && !ROTTEN.has(first.code)) throw first;
    this.opened.delete(path);
    const verified = await this.deps.hub.open(path, { verify: true });
    verified.release?.();
    return this.read(path);
  }

  private read(reference: string): Promise<Opened> {
    const opened = this.opened.get(reference) ?? this.load(reference);
    keepLast(this.opened, reference, opened);
    return opened;
  }

  private async readSmall(reference: string): Promise<ModelReading> {
    const { hub, store, openTokenizer } = this.deps;
    const folder = await hub.open(reference);
    try {
      const config = await store.config(folder);
      return { model: { config }, tokenizer: await openTokenizer(folder) };
    } finally {
      folder.release?.();
    }
  }

  private async load(reference: string): Promise<Opened> {
    const { hub, store, openTokenizer, clock, onLoad } = this.deps;
    const startMs = clock.monotonic();
    const folder = await hub.open(reference);
    try {
      const model = await store.load(folder);
      const tokenizer = await openTokenizer(folder);
      onLoad?.(model, (clock.monotonic() - startMs) / 1000);
      return { model, tokenizer };
    } finally {
      folder.release?.();
    }
  }
}

/** How reading fails when the bytes are others than they were. */
const ROTTEN: ReadonlySet<string> = new Set([
  'invalid_argument',
  'failed_precondition',
  'data_loss',
  'internal',
]);

/** Whether an import is what an `hf:` reference means. */
function isFrom(from: ImportedContent | undefined, reference: string): boolean {
  if (from === undefined) return false;
  const [wanted, revision] = reference.split('@');
  const [name] = from.source.split('@');
  if (revision === undefined) return name === wanted;
  return from.source === reference || from.asked === reference;
}

/** Keeps the newest of a bounded number. What could not be read is not kept: the next caller reads again. */
function keepLast<T>(kept: Map<string, Promise<T>>, key: string, value: Promise<T>): void {
  kept.delete(key);
  kept.set(key, value);
  for (const oldest of kept.keys()) {
    if (kept.size <= MODELS_OPEN_MAX) break;
    kept.delete(oldest);
  }
  value.catch(() => kept.get(key) === value && kept.delete(key));
}

/** For a word that may have been meant as a name, "no such folder" alone would mislead. */
const notEvenAName =
  (reference: string) =>
  (thrown: unknown): never => {
    const error = OperationError.from(thrown);
    if (error.code !== 'not_found' || !NAME.test(reference)) throw error;
    throw notFound(
      `no model is named ${reference}, and no folder of that name is there; \`heddle model ls\` lists the names`,
      { field: 'model' },
    );
  };

function checkSource(source: string, field: string): void {
  const bytes = Buffer.byteLength(source);
  if (bytes <= SOURCE_BYTES_MAX && !source.includes('\0')) return;
  throw invalidArgument(
    `${field}: a path or a name of at most ${SOURCE_BYTES_MAX} bytes, without NUL`,
    {
      field,
      details: { limit: SOURCE_BYTES_MAX, bytes },
    },
  );
}

function defaultName(source: string): string {
  const last = basename(source.replace(/@[^/]*$/, '').replace(/\/+$/, ''));
  return last.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 64);
}
