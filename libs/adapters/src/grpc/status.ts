import { Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import {
  CODES,
  type Code,
  type Details,
  OperationError,
  type OperationErrorInit,
} from '@heddle/core';
import type { Init } from '@heddle/ports';
import type { Detail, ErrorDetail } from '@heddle/ports/proto/common';
import protobuf from 'protobufjs/minimal.js';
import { codecOf } from './contracts.ts';
import { ERROR_TEXT_CHARACTERS_MAX, TRIED_ENOUGH_MS } from './limits.ts';

const { Reader, Writer } = protobuf;

/** Where a typed error travels. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';
/** gRPC's own: negative, the caller's channel does not repeat the call by itself. */
const PUSHBACK = 'grpc-retry-pushback-ms';
const DETAIL = 'heddle.common.v1.ErrorDetail';
const TRACE_ID = 'trace_id';

/** gRPC numbers its codes from 1 in the order of `CODES`; 0 is OK. */
const numberOf = (code: Code) => CODES.indexOf(code) + 1;
const codeOf = (number: number): Code => CODES[number - 1] ?? 'unknown';

/**
 * The error as it goes out: the cause stays here. What was tried here for long, or is known to be away for long, the caller's
 * channel does not repeat by itself.
 */
export function toStatus(error: OperationError, tookMs = 0, traceId?: string): StatusObject {
  const code = numberOf(error.code);
  // A cut may fall inside a pair, and a message may quote what a client sent: half a character ends grpc-js' process.
  const message = error.message.slice(0, ERROR_TEXT_CHARACTERS_MAX).toWellFormed();
  const metadata = new Metadata();
  const detail = withTrace(toDetail(error, message), traceId);
  metadata.set(DETAILS_TRAILER, Buffer.from(richStatus(code, message, detail)));
  const isKnown = (error.retryAfterMs ?? 0) >= TRIED_ENOUGH_MS;
  if (isKnown || tookMs > TRIED_ENOUGH_MS) metadata.set(PUSHBACK, '-1');
  return { code, details: message, metadata };
}

/** Where to look for what happened; of an error that was passed on, the same as it said. */
function withTrace(error: Init<ErrorDetail>, traceId: string | undefined): Init<ErrorDetail> {
  if (traceId === undefined) return error;
  const others = (error.details ?? []).filter(({ name }) => name !== TRACE_ID);
  return { ...error, details: [{ name: TRACE_ID, text: traceId }, ...others.slice(0, 15)] };
}

/** The error as it arrived, with the typed detail where the server sent one. */
export function fromServiceError(error: ServiceError): OperationError {
  const detail = detailOf(error.metadata);
  if (detail === undefined) {
    const message =
      notServed(error.details) ??
      notConnected(error.details) ??
      late(error.details) ??
      error.details;
    const code = wasCut(error.details) ? 'unavailable' : codeOf(error.code);
    return new OperationError({ code, message, cause: error });
  }
  const code = CODES.find((known) => known === detail.code) ?? codeOf(error.code);
  const init: OperationErrorInit = {
    code,
    message: detail.message,
    details: fromDetails(detail),
    cause: error,
    ...(detail.field === '' ? {} : { field: detail.field }),
    ...(detail.retry_after_ms === undefined ? {} : { retryAfterMs: detail.retry_after_ms }),
  };
  return new OperationError(init);
}

/** grpc-js' list of what took how long, as one number. */
function late(details: string): string | undefined {
  const seconds = /^Deadline exceeded after (\d+(?:\.\d+)?)s/.exec(details)?.[1];
  return seconds && `no answer came within ${Math.ceil(Number(seconds))} s: ask again later`;
}

/** A stream that ended without any status: grpc-js says INTERNAL, but it is the connection that was lost, and no server spoke. */
const wasCut = (details: string): boolean =>
  /^(?:Received RST_STREAM with code|No status information received)/.test(details);

/** grpc-js' own words for a method without a handler name no cause and nothing to do. */
function notServed(details: string): string | undefined {
  const method = /^The server does not implement the method \/(\S+)/.exec(details)?.[1];
  if (method === undefined) return undefined;
  return `${method} is not answered there: the process was brought up without that service (see heddle up --services), or the method is not built yet`;
}

/** Why a channel has no connection, in grpc-js' own words without those that say nothing; undefined for other texts. */
export function connectionFailure(details: string): string | undefined {
  return /Last error: (?:Error: )?(.*?)\.?( Resolution note:.*)?$/s.exec(details)?.[1];
}

function notConnected(details: string): string | undefined {
  const why = connectionFailure(details);
  return why === undefined ? undefined : `the server does not answer (${why})`;
}

/** The typed detail of an error, as jobs keep it too. */
export function toDetail(error: OperationError, message: string): Init<ErrorDetail> {
  const { limit, ...others } = error.details;
  const numeric = typeof limit === 'number';
  const kept = numeric || limit === undefined ? others : error.details;
  return {
    code: error.code,
    message,
    field: error.field ?? '',
    limit: numeric ? limit : undefined,
    details: Object.entries(kept)
      .slice(0, 16)
      .map(([name, value]) => detail(name, value)),
    retry_after_ms: error.retryAfterMs,
  };
}

function detail(name: string, value: string | number | boolean): Init<Detail> {
  if (typeof value === 'number') return { name, number: value };
  if (typeof value === 'boolean') return { name, flag: value };
  return { name, text: value.slice(0, 200) };
}

function fromDetails({ details, limit }: ErrorDetail): Details {
  const entries = details.map((d) => [d.name, d.text ?? d.number ?? d.flag ?? ''] as const);
  return { ...Object.fromEntries(entries), ...(limit === undefined ? {} : { limit }) };
}

/** google.rpc.Status { code = 1, message = 2, details = 3: Any { type_url = 1, value = 2 } }, written by hand: three fields. */
function richStatus(code: number, message: string, error: Init<ErrorDetail>): Uint8Array {
  const writer = Writer.create();
  writer.uint32(8).int32(code);
  writer.uint32(18).string(message);
  writer.uint32(26).fork();
  writer.uint32(10).string(`type.googleapis.com/${DETAIL}`);
  writer.uint32(18).bytes(codecOf(DETAIL).serialize(error));
  return writer.ldelim().finish();
}

function detailOf(metadata: Metadata | undefined): ErrorDetail | undefined {
  const [bytes] = metadata?.get(DETAILS_TRAILER) ?? [];
  if (!Buffer.isBuffer(bytes)) return undefined;
  try {
    return readStatus(Reader.create(bytes));
  } catch {
    return undefined; // Another server's detail, or a broken one: code and text still stand.
  }
}

function readStatus(reader: protobuf.Reader): ErrorDetail | undefined {
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag !== 26) {
      reader.skipType(tag & 7);
      continue;
    }
    const value = readAny(Reader.create(reader.bytes()));
    if (value !== undefined) return codecOf(DETAIL).deserialize(value) as ErrorDetail;
  }
  return undefined;
}

function readAny(reader: protobuf.Reader): Uint8Array | undefined {
  let type = '';
  let value: Uint8Array | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 10) type = reader.string();
    else if (tag === 18) value = reader.bytes();
    else reader.skipType(tag & 7);
  }
  return type.endsWith(`/${DETAIL}`) ? value : undefined;
}
