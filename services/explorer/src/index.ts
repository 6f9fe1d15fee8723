export { createService, type ExplorerDeps } from './explorer.ts';
