import { failedPrecondition, type Json, OperationError, resourceExhausted } from '@heddle/core';
import type { Journal } from '@heddle/ports';
import { MODELS_NAMED_MAX } from './limits.ts';

/** What is remembered of an imported model. */
export interface NamedModel {
  readonly name: string;
  /** What the hub opens: a folder, or the content. */
  readonly path: string;
  readonly digest: string;
  readonly importedMs: number;
  /** Undefined: a folder used in place. */
  readonly import?: ImportedContent;
}

/** A model whose files are in the blob store. */
export interface ImportedContent {
  /** `content:sha256:…`. */
  readonly content: string;
  /** Pinned: `hf:OWNER/NAME@` and the commit; a folder's path; the content itself after an upload. */
  readonly source: string;
  /** As it was asked for: `hf:OWNER/NAME@main`. */
  readonly asked: string;
  /** The job that brought it, and that keeps its blobs. */
  readonly job: string;
  /** ModelInfo as it was when every tensor was read: told without a look at the files. */
  readonly info: { readonly [field: string]: Json };
}

type Placed = Omit<NamedModel, 'import'>;

/** Events of the stream; `v` is their version, and old ones are folded for ever. */
type NameEvent =
  | ({ readonly v: 1; readonly type: 'named' } & Placed)
  | ({ readonly v: 2; readonly type: 'named'; readonly import: ImportedContent } & Placed)
  | { readonly v: 1; readonly type: 'removed'; readonly name: string };

/** Under which changes of the names are announced to people and caches. */
export const NAMES_ANNOUNCED = 'activation.models';

const VERSION = 2;

const STREAM = 'activation.models';
/** Another replica won the race this often in a row: something writes without end. */
const CONFLICTS_MAX = 16;

type Names = ReadonlyMap<string, NamedModel>;

/** Names of imported models: a fold of the journal, so that every replica knows the same ones and a crash loses none. */
export class ModelNames {
  private readonly journal: Journal;

  constructor(journal: Journal) {
    this.journal = journal;
  }

  async all(): Promise<Names> {
    return (await this.fold()).names;
  }

  /** Errors: `already_exists` when the name is another model's; `resource_exhausted` when there are too many names. */
  async add(model: NamedModel): Promise<NamedModel> {
    return this.decide((names) => {
      const known = names.get(model.name);
      if (known?.path === model.path && known.digest === model.digest) return { answer: known };
      if (known) {
        throw new OperationError({
          code: 'already_exists',
          message: `model ${model.name} is ${known.import?.source ?? known.path} already; remove it first or choose another name`,
          field: 'name',
        });
      }
      if (names.size >= MODELS_NAMED_MAX) {
        throw resourceExhausted(`${MODELS_NAMED_MAX} models are named already`, {
          retryable: false,
          details: { limit: MODELS_NAMED_MAX },
        });
      }
      const { import: imported, ...placed } = model;
      const event: NameEvent = imported
        ? { v: 2, type: 'named', ...placed, import: imported }
        : { v: 1, type: 'named', ...placed };
      return { answer: model, event };
    });
  }

  /** What had the name; undefined: nothing. */
  async remove(name: string): Promise<NamedModel | undefined> {
    return this.decide<NamedModel | undefined>((names) => {
      const known = names.get(name);
      if (known === undefined) return { answer: undefined };
      return { answer: known, event: { v: 1, type: 'removed', name } };
    });
  }

  private async decide<T>(
    decision: (names: Names) => { readonly answer: T; readonly event?: NameEvent },
  ): Promise<T> {
    for (let attempt = 0; attempt < CONFLICTS_MAX; attempt++) {
      const { names, sequence } = await this.fold();
      const { answer, event } = decision(names);
      if (event === undefined) return answer;
      try {
        const bytes = new TextEncoder().encode(JSON.stringify(event));
        await this.journal.append(STREAM, sequence, [bytes]);
        return answer;
      } catch (thrown) {
        if (OperationError.from(thrown).code !== 'aborted') throw thrown;
      }
    }
    throw new OperationError({
      code: 'aborted',
      message: `the model names changed ${CONFLICTS_MAX} times while one was written`,
    });
  }

  private async fold(): Promise<{ names: Names; sequence: number }> {
    const names = new Map<string, NamedModel>();
    let last = 0;
    for (const { sequence, bytes } of await this.journal.read(STREAM)) {
      const event = JSON.parse(new TextDecoder().decode(bytes)) as NameEvent;
      if (event.v > VERSION) throw tooNew(event.v);
      if (event.type === 'removed') names.delete(event.name);
      else {
        const { name, path, digest, importedMs } = event;
        const imported = event.v === 2 ? { import: event.import } : {};
        names.set(name, { name, path, digest, importedMs, ...imported });
      }
      last = sequence;
    }
    return { names, sequence: last };
  }
}

function tooNew(version: number): OperationError {
  return failedPrecondition(
    `the journal names models by an event of version ${version}, this Heddle reads up to ${VERSION}: run the newer one`,
    { details: { version, versionMax: VERSION } },
  );
}
