import type { Server, ServerDuplexStream } from '@grpc/grpc-js';
import { assert, OperationError, unimplemented, VERSION } from '@heddle/core';
import { CONTRACTS, methodsOf, SERVICES } from './contracts.ts';
import { toStatus } from './status.ts';

/** Of a path, which a caller may make as long as HTTP/2 lets it. */
const SHOWN_CHARACTERS_MAX = 200;

interface Fallback {
  readonly type: 'bidi';
  readonly path: string;
  readonly func: (call: ServerDuplexStream<object, object>) => void;
  readonly serialize: () => Buffer;
  readonly deserialize: () => object;
}

/**
 * Methods and services that nobody answers here get UNIMPLEMENTED with our typed detail; grpc-js by itself sends the bare
 * code. It looks a method up in a map of its own and has no public place for what is not found, so that map is asked; the
 * assertion and a test tell when a release has moved it. What answers is a stream, because one answers before a request came.
 * While the process is `starting`, what it knows and does not answer yet is UNAVAILABLE: it may in a moment.
 */
export function answerUnknownMethods(server: Server, starting: () => boolean): void {
  const { handlers } = server as unknown as { readonly handlers?: unknown };
  assert(handlers instanceof Map, 'grpc-js keeps its handlers in a map');
  const known = handlers as Map<string, unknown>;
  const find = known.get.bind(known);
  known.get = (path) => find(path) ?? fallback(path, starting);
}

function fallback(path: string, starting: () => boolean): Fallback {
  return {
    type: 'bidi',
    path,
    func: (call) => {
      call.on('error', () => {}); // a caller that went away meanwhile
      call.resume();
      call.emit('error', toStatus(notAnswered(path, starting())));
    },
    serialize: () => Buffer.alloc(0),
    deserialize: () => ({}),
  };
}

/** Why a path is not answered, by what of it this server's contracts know. */
function notAnswered(path: string, isStarting: boolean): OperationError {
  const shown = path.slice(0, SHOWN_CHARACTERS_MAX);
  const [service = '', method = ''] = shown.replace(/^\//, '').split('/');
  const details = { service, method, server_version: VERSION };
  const contract = CONTRACTS.find((each) => SERVICES[each] === service);
  if (contract === undefined) {
    return unimplemented(
      `there is no service ${service} in this server (version ${VERSION}): if the client is newer, update the server`,
      { details },
    );
  }
  if (!methodsOf(contract).some(([name]) => name === method)) {
    return unimplemented(
      `${service} has no method ${method} in this server (version ${VERSION}): if the client is newer, update the server`,
      { details },
    );
  }
  if (isStarting) {
    const message = `${service}/${method} is not answered yet: the process is starting`;
    return new OperationError({ code: 'unavailable', message, details });
  }
  return unimplemented(
    `${service}/${method} is not answered there: the process was brought up without that service (see heddle up --services)`,
    { details },
  );
}
