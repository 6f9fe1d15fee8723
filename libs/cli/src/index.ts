export type {
  BringUpOptions,
  ClusterHost,
  CommandIo,
  LocalCluster,
  Owner,
} from './cluster-host.ts';
export { DRAIN_MS } from './commands/up.ts';
export { heddleCommand } from './heddle-command.ts';
export type { TourReport } from './tour/index.ts';
