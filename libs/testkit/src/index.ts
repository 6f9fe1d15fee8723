export { TestCallers } from './callers.ts';
export {
  CLUSTER_SERVICES,
  ClusterProcess,
  type Exit,
  type LogEntry,
  type ServiceName,
} from './cluster/cluster-process.ts';
export { cpuSeconds, rssBytes } from './cluster/process-usage.ts';
export { stablePort } from './cluster/stable-port.ts';
export {
  type Cluster,
  type ClusterOptions,
  type ProcessSpec,
  startCluster,
} from './cluster/start-cluster.ts';
export { type BlobsHarness, blobsContract, digestOf } from './contracts/blobs-contract.ts';
export { type EventsHarness, eventsContract } from './contracts/events-contract.ts';
export { type JournalHarness, journalContract } from './contracts/journal-contract.ts';
export { type QueueHarness, queueContract } from './contracts/queue-contract.ts';
export { type CountRequest, countingKind, countingResult } from './counting-kind.ts';
export { freeze, thaw } from './faults/freeze.ts';
export { missingMount, type SmallDisk, smallDisk } from './faults/small-disk.ts';
export { openProxy, type TcpProxy } from './faults/tcp-proxy.ts';
export { JobWorld } from './job-world.ts';
export { ApiClient, type KubernetesObject } from './kubernetes/api-client.ts';
export {
  type ControlPlane,
  type ControlPlaneOptions,
  missingControlPlane,
  startControlPlane,
} from './kubernetes/control-plane.ts';
export type { NodeSpec } from './kubernetes/nodes.ts';
export { USAGE_ANNOTATIONS } from './kubernetes/usage.ts';
export { closedLoop, openLoop, quantile, type Sample } from './load/open-loop.ts';
export {
  DYING_WITH_US,
  type Launched,
  type LaunchOptions,
  launch,
  launchCommand,
} from './processes/launch.ts';
export {
  CountingMetrics,
  deafEvents,
  type LogLine,
  recordingLog,
  silentLog,
} from './quiet.ts';
export {
  missingServer,
  SERVERS,
  type ServerProgram,
  serverPath,
  serversFolder,
} from './servers/binaries.ts';
export { consumersOf, type SeenConsumer } from './servers/consumers-of.ts';
export { freePort, listens, until } from './servers/free-port.ts';
export {
  HUB_TOKEN,
  type HubFault,
  type HubRepository,
  type HubRequest,
  type HubServer,
  startHub,
} from './servers/hub-server.ts';
export { type NatsServer, startNats, startNatsCluster } from './servers/nats-server.ts';
export { type S3Server, startS3 } from './servers/s3-server.ts';
export {
  type ReceivedSpan,
  startTraceReceiver,
  type TraceReceiver,
} from './servers/trace-receiver.ts';
export { waitOut } from './servers/wait-out.ts';
export { MemoryBlobs } from './simulated/memory-blobs.ts';
export { MemoryJournal } from './simulated/memory-journal.ts';
export { MemoryQueue } from './simulated/memory-queue.ts';
export { temporaryFolder } from './temporary-folder.ts';
export { VirtualClock } from './virtual-clock.ts';
