export { type Channel, type ChannelConfig, openChannel } from './channel.ts';
export { CONTRACTS, SERVICES } from './contracts.ts';
export { MESSAGE_BYTES_MAX } from './limits.ts';
export { grpcMetrics } from './metrics.ts';
export { type RunningServer, type ServeOptions, serve } from './server.ts';
export { toDetail } from './status.ts';
