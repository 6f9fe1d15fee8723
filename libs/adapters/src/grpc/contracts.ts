import { readFileSync } from 'node:fs';
import { logVerbosity, type ServiceDefinition, setLogVerbosity } from '@grpc/grpc-js';
import {
  loadFileDescriptorSetFromBuffer,
  type MethodDefinition,
  type PackageDefinition,
} from '@grpc/proto-loader';
import { present } from '@heddle/core';
import type { ContractName } from '@heddle/ports';

// grpc-js would write to stderr by itself (a port that is taken, a lost connection); every failure reaches a caller anyway.
setLogVerbosity(logVerbosity.NONE);

/** Full names of the contracts' services in proto/. */
export const SERVICES: Readonly<Record<ContractName, string>> = {
  activation: 'heddle.activation.v1.ActivationService',
  attribution: 'heddle.attribution.v1.AttributionService',
  circuit: 'heddle.circuit.v1.CircuitService',
  jobs: 'heddle.jobs.v1.JobsService',
  lorsa: 'heddle.lorsa.v1.LorsaService',
  qk: 'heddle.qk.v1.QkService',
};

export const CONTRACTS = Object.keys(SERVICES) as readonly ContractName[];

/** Of methods by their full names: streams that only watch. They never end by themselves; callers come back. */
export const isWatch = (method: string): boolean => method.endsWith('/Watch');

/** What `buf build` made of proto/: a google.protobuf.FileDescriptorSet. */
export function descriptorSet(): Buffer {
  return readFileSync(new URL('./gen/heddle.binpb', import.meta.url));
}

let loaded: PackageDefinition | undefined;

/** The contracts as proto-loader reads them, once. test/gen makes the types with the same options. */
function packageDefinition(): PackageDefinition {
  loaded ??= loadFileDescriptorSetFromBuffer(descriptorSet(), {
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  return loaded;
}

function serviceDefinition(contract: ContractName): ServiceDefinition {
  const name = SERVICES[contract];
  return present(packageDefinition()[name], name) as unknown as ServiceDefinition;
}

export type Method = MethodDefinition<object, object>;

/** Method name → its definition. */
export function methodsOf(contract: ContractName): readonly (readonly [string, Method])[] {
  return Object.entries(serviceDefinition(contract)) as [string, Method][];
}

/** A message type's codec, for messages that travel outside of calls (error details). */
export function codecOf(message: string): {
  serialize(value: object): Uint8Array;
  deserialize(bytes: Uint8Array): object;
} {
  const type = present(packageDefinition()[message], message) as unknown as {
    serialize(value: object): Uint8Array;
    deserialize(bytes: Uint8Array): object;
  };
  return type;
}
