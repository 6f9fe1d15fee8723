export { type FolderHubOptions, folderHub, openModelFolder } from '../fs/model-folder.ts';
export { type LoadedModel, loadConfig, loadModel } from './load-model.ts';
export { programOf } from './program-of.ts';
export { openWeights, type WeightReader } from './weight-reader.ts';
