export { bringUp, type Extensions } from './bring-up.ts';
export { type Config, readConfig } from './config.ts';
export { heddleMain } from './heddle-main.ts';
export {
  ENGINE_METRICS,
  NATS_METRICS,
  PROCESS_METRICS,
  STORE_METRICS,
  TLS_METRICS,
} from './metrics.ts';
export { NATS_USERS } from './nats-users.ts';
export type { Stores } from './stores.ts';
