import { Rng } from '@heddle/core';
import type { ContractName } from '@heddle/ports';
import { type Method, methodsOf, SERVICES } from '../../../libs/adapters/src/grpc/contracts.ts';
import { mutateBytes } from '../files/mutate-bytes.ts';
import { baseRequest } from './base-requests.ts';
import { mutateMessage } from './mutate-message.ts';
import { frame } from './raw-client.ts';

export interface RequestMutant {
  readonly what: string;
  /** `activation/Run` */
  readonly method: string;
  readonly path: string;
  readonly body: Uint8Array;
  /** The request as any reader of the contract understands it; undefined where nobody can. */
  readonly request: object | undefined;
  /** Whether the frame around the message is damaged: then gRPC itself prescribes the status. */
  readonly misframed: boolean;
}

/** By `activation/Run`: every method of every contract. */
export const METHODS: ReadonlyMap<string, { readonly path: string; readonly method: Method }> =
  new Map(
    (Object.keys(SERVICES) as ContractName[]).flatMap((contract) =>
      methodsOf(contract).map(([name, method]) => {
        return [`${contract}/${name}`, { path: `/${SERVICES[contract]}/${name}`, method }] as const;
      }),
    ),
  );

/** Mutant `number` of a seed. Even ones say hostile things in a message that can be read; odd ones are hostile bytes. */
export function requestMutant(seed: number, number: number): RequestMutant {
  const rng = new Rng(seed * 1_000_003 + number);
  if (number % 2 === 1) return damaged(rng, baseRequest(rng));
  for (;;) {
    const mutant = hostile(rng, baseRequest(rng));
    if (mutant) return mutant;
  }
}

type Base = ReturnType<typeof baseRequest>;

function methodOf(name: string): { readonly path: string; readonly method: Method } {
  const found = METHODS.get(name);
  if (!found) throw new Error(`no method ${name}`);
  return found;
}

/** Undefined when the message cannot be written: a text where the contract has a number. */
function hostile(rng: Rng, { method: name, request }: Base): RequestMutant | undefined {
  const { path, method } = methodOf(name);
  // One in six stays as it is: an ordinary request among the hostile ones.
  const said = rng.below(6) === 0 ? 'unchanged' : mutateMessage(rng, request);
  const message = written(method, request);
  if (!message) return undefined;
  const what = `${name}: ${said}`;
  const understood = method.requestDeserialize(message);
  return { what, method: name, path, body: frame(message), request: understood, misframed: false };
}

function written(method: Method, request: object): Buffer | undefined {
  try {
    return method.requestSerialize(request);
  } catch {
    return undefined;
  }
}

function damaged(rng: Rng, { method: name, request }: Base): RequestMutant {
  // Sometimes the bytes of one method's message are sent to another method.
  const sentTo = rng.below(8) === 0 ? rng.pick([...METHODS.keys()]) : name;
  const valid = new Uint8Array(methodOf(name).method.requestSerialize(request));
  const { path, method } = methodOf(sentTo);
  const [message, what] = damage(rng, valid);
  const [body, lie] = rng.below(6) === 0 ? misframe(rng, message) : [frame(message), ''];
  return {
    what: `${name} to ${sentTo}: ${what}${lie}`,
    method: sentTo,
    path,
    body,
    request: lie === '' ? understood(method, message) : undefined,
    misframed: lie !== '',
  };
}

function understood(method: Method, message: Uint8Array): object | undefined {
  try {
    return method.requestDeserialize(Buffer.from(message));
  } catch {
    return undefined;
  }
}

function damage(rng: Rng, bytes: Uint8Array): readonly [Uint8Array, string] {
  const many = 1 << rng.below(12);
  switch (rng.below(8)) {
    case 0:
      return [repeated(bytes, Math.min(many, 64)), `said ${Math.min(many, 64)} times`];
    case 1: // groups in groups: a reader that recurses runs out of stack
      return [new Uint8Array(many * 16).fill(0x0b), `${many * 16} groups opened`];
    case 2: // a length-delimited field that claims more than there is
      return [Uint8Array.of(0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1), 'a field of 4 GiB'];
    case 3:
      return [joined(Uint8Array.of(0x0a, 4, 0xff, 0xfe, 0xc0, 0x80), bytes), 'a text not in UTF-8'];
    case 4:
      return [Uint8Array.from({ length: many }, () => rng.below(256)), `${many} random bytes`];
    default:
      return mutateBytes(rng, bytes);
  }
}

function misframe(rng: Rng, message: Uint8Array): readonly [Uint8Array, string] {
  switch (rng.below(6)) {
    case 0:
      return [frame(message, { stated: 0xffffffff }), ', claims to be 4 GiB'];
    case 1:
      return [frame(message, { flag: 1 }), ', claims to be compressed'];
    case 2:
      return [frame(message, { stated: message.length + 1 }), ', one byte short'];
    case 3:
      return [joined(frame(message), frame(message)), ', two messages'];
    case 4:
      return [frame(new Uint8Array(5 * 2 ** 20)), ', 5 MiB'];
    default:
      return [message.slice(0, 4), ', no frame'];
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const repeated = (bytes: Uint8Array, times: number): Uint8Array =>
  joined(...new Array<Uint8Array>(times).fill(bytes));
