export { bringUp, type Extensions } from './bring-up.ts';
export { type Config, readConfig } from './config.ts';
export { heddleMain } from './heddle-main.ts';
export { NATS_USERS } from './nats-users.ts';
export type { Stores } from './stores.ts';
