export { type FolderHubOptions, folderHub, openModelFolder } from '../fs/model-folder.ts';
export { loadConfig, loadModel } from './load-model.ts';
export { programOf } from './program-of.ts';
export { openWeights } from './weight-reader.ts';
