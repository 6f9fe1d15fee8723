export { type HfModelsOptions, hfModels } from './hf-models.ts';
export { isCommit, parseHubReference } from './hub-reference.ts';
