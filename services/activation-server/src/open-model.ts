import type { ModelConfig } from '@heddle/models';
import type { LoadedModel, Tokenizer } from '@heddle/ports';

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
