export { bringUp } from './bring-up.ts';
export { type Config, readConfig } from './config.ts';
