import type { Model, ModelConfig } from '@heddle/models';
import type { Graph } from '@heddle/onnx';
import type { Tensor } from '@heddle/tensor';
import type { Program } from './engine.ts';
import type { ModelFolder } from './platform.ts';

/** A model that was read whole once: every weight finite, every byte in the digest. Tables, no weights. */
export interface LoadedModel extends Model {
  readonly path: string;
  /** SHA-256, hex, over config.json and the weight files: equal digests compute the same. */
  readonly digest: string;
  /** Real folder of the weight files, for ONNX external data; locations name files of it. */
  readonly weightsDirectory: string;
  /** Bytes of the weights as they lie in the files. */
  readonly weightBytes: number;
  /** Fields of config.json that nothing reads, and tensors that nothing reads. */
  readonly ignoredFields: readonly string[];
  readonly ignoredTensors: readonly string[];
  readonly hasTokenizer: boolean;
  /** Name in the folder of each file that locations name. */
  readonly fileNames: ReadonlyMap<string, string>;
}

/** Reads single weights of a model on the host, as f32. */
export interface WeightReader {
  /** By role (`blocks.0.attn.O.W`), as it lies in the file. */
  read(role: string): Promise<Tensor<'f32'>>;
  close(): Promise<void>;
}

/** Reads models from their folders, and makes programs of graphs about them. */
export interface ModelStore {
  /** Reads config.json alone. */
  config(folder: ModelFolder): Promise<ModelConfig>;
  /** Reads and checks every tensor. */
  load(folder: ModelFolder): Promise<LoadedModel>;
  program(model: LoadedModel, graph: Graph): Program;
  /** For the mathematics that runs on the host. */
  openWeights(folder: ModelFolder, model: LoadedModel): WeightReader;
}
