import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import { connectionFailure, DETAILS_TRAILER, toStatus } from '../status.ts';
import type { Upstream } from './upstream.ts';

/** When to come back to a service that does not answer: about the time that a process takes to start. */
const RETRY_AFTER_MS = 2_000;

/** What HTTP/2 and gRPC write into headers themselves. */
const OF_THE_WIRE =
  /^(?:content-|date$|trailer$|connection$|server$|te$|grpc-(?!status-details-bin$|retry-pushback-ms$))/;

/** What a service put into its headers or trailers, for the caller. */
export function passedOn(metadata: Metadata): Metadata {
  const kept = new Metadata();
  for (const name of Object.keys(metadata.getMap())) {
    if (!OF_THE_WIRE.test(name)) for (const value of metadata.get(name)) kept.add(name, value);
  }
  return kept;
}

/** A service's status as it came; the channel's own words where it was no service that spoke. */
export function forwardedStatus(found: StatusObject, upstream: Upstream): StatusObject {
  const metadata = passedOn(found.metadata);
  const isChannels = metadata.get(DETAILS_TRAILER).length === 0;
  if (found.code === status.UNAVAILABLE && isChannels) return toStatus(down(found, upstream));
  return { code: found.code, details: found.details, metadata };
}

function down({ details }: StatusObject, { contract, addresses }: Upstream): OperationError {
  const at = addresses.join(', ');
  const why = connectionFailure(details) ?? details;
  return new OperationError({
    code: 'unavailable',
    message: `the ${contract} service does not answer at ${at}: is it running? (${why})`,
    details: { service: contract },
    retryAfterMs: RETRY_AFTER_MS,
  });
}
