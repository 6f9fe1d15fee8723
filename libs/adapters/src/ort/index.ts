export { OrtEngine, type OrtEngineOptions } from './engine.ts';
