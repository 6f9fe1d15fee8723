export { forwardContract, rawDefinition } from './forward-contract.ts';
export { Upstreams } from './upstream.ts';
