import type { Model, ModelConfig } from '@heddle/models';
import type { Graph } from '@heddle/onnx';
import type { ModelFolder, Program, Tokenizer } from '@heddle/ports';

/** A model whose files were read and checked: tables, no weights. What `loadModel` of the hub's adapter makes. */
export interface LoadedModel extends Model {
  readonly path: string;
  /** Hex SHA-256 over config and weights. */
  readonly digest: string;
  readonly weightsDirectory: string;
  readonly weightBytes: number;
  readonly ignoredFields: readonly string[];
  readonly hasTokenizer: boolean;
}

/** A model in use, under the name that it was asked for by. */
export interface OpenModel {
  readonly name: string;
  readonly bundled: boolean;
  /** Milliseconds since 1970; 0 for a folder used in place. */
  readonly importedMs: number;
  readonly model: LoadedModel;
  /** Undefined: takes token ids only. */
  readonly tokenizer: Tokenizer | undefined;
}

/** What a model makes of text, and where it can be looked into: read without a look at its weights. */
export interface ModelReading {
  readonly model: { readonly config: ModelConfig };
  readonly tokenizer: Tokenizer | undefined;
}

/** What reads models from disk and makes programs of graphs; given by the composition root. */
export interface ModelStore {
  /** Reads config.json alone. */
  config(folder: ModelFolder): Promise<ModelConfig>;
  /** Reads and checks every tensor. */
  load(folder: ModelFolder): Promise<LoadedModel>;
  program(model: LoadedModel, graph: Graph): Program;
}
