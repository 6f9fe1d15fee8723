import { present } from '@heddle/core';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { descriptorSet } from './contracts.ts';

/** protobuf's wire types that proto3 writes. */
export const WIRE = { varint: 0, fixed64: 1, delimited: 2, fixed32: 5 } as const;

export interface FieldShape {
  readonly name: string;
  readonly repeated: boolean;
  /** How one value is written; a list of numbers may also be packed into one delimited field. */
  readonly wire: number;
  /** Of a message field. */
  readonly message: MessageShape | undefined;
  /** Of an enum field. */
  readonly values: EnumShape | undefined;
}

export interface MessageShape {
  /** `heddle.common.v1.Prompt` */
  readonly name: string;
  readonly fields: ReadonlyMap<number, FieldShape>;
}

export interface EnumShape {
  readonly name: string;
  readonly numbers: ReadonlySet<number>;
}

/** What of google.protobuf.FileDescriptorSet is read here. */
interface DescriptorSet {
  readonly file: readonly {
    readonly package: string;
    readonly messageType: readonly MessageDescriptor[];
    readonly enumType: readonly EnumDescriptor[];
    readonly service: readonly {
      readonly name: string;
      readonly method: readonly { readonly name: string; readonly inputType: string }[];
    }[];
  }[];
}

interface MessageDescriptor {
  readonly name: string;
  readonly field: readonly FieldDescriptor[];
  readonly nestedType: readonly MessageDescriptor[];
  readonly enumType: readonly EnumDescriptor[];
}

interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  readonly label: number;
  readonly type: number;
  readonly typeName: string;
}

interface EnumDescriptor {
  readonly name: string;
  readonly value: readonly { readonly number: number }[];
}

const LABEL_REPEATED = 3;
/** google.protobuf.FieldDescriptorProto.Type of what is no varint. */
const FIXED64 = new Set([1, 6, 16]);
const FIXED32 = new Set([2, 7, 15]);
const DELIMITED = new Set([9, 11, 12]);

interface Contracts {
  /** By method path: `/heddle.jobs.v1.JobsService/Get`. */
  readonly requests: ReadonlyMap<string, MessageShape>;
  readonly messages: ReadonlyMap<string, MessageShape>;
}

let contracts: Contracts | undefined;

/** The message that a method takes. */
export function requestShape(path: string): MessageShape {
  contracts ??= readContracts(descriptorSet());
  return present(contracts.requests.get(path), path);
}

function readContracts(bytes: Uint8Array): Contracts {
  const set = descriptor.FileDescriptorSet.decode(bytes) as unknown as DescriptorSet;
  const enums = new Map<string, EnumShape>();
  const found = new Map<string, MessageDescriptor>();
  for (const { package: prefix, messageType, enumType } of set.file) {
    collect(prefix, { nestedType: messageType, enumType }, found, enums);
  }
  const messages = new Map<string, MessageShape & { fields: Map<number, FieldShape> }>();
  for (const name of found.keys()) messages.set(name, { name, fields: new Map() });
  // Filled afterwards: a message may hold itself.
  for (const [name, { field }] of found) {
    const { fields } = present(messages.get(name), name);
    for (const each of field) {
      const type = each.typeName.slice(1);
      const shape = { message: messages.get(type), values: enums.get(type) };
      const { name, label } = each;
      const repeated = label === LABEL_REPEATED;
      fields.set(each.number, { name, repeated, wire: wireOf(each.type), ...shape });
    }
  }
  const requests = set.file.flatMap(({ package: prefix, service }) =>
    service.flatMap(({ name, method }) =>
      method.map((each) => {
        const message = present(messages.get(each.inputType.slice(1)), each.inputType);
        return [`/${prefix}.${name}/${each.name}`, message] as const;
      }),
    ),
  );
  return { requests: new Map(requests), messages };
}

function collect(
  prefix: string,
  { nestedType, enumType }: Pick<MessageDescriptor, 'nestedType' | 'enumType'>,
  messages: Map<string, MessageDescriptor>,
  enums: Map<string, EnumShape>,
): void {
  for (const { name, value } of enumType) {
    const full = `${prefix}.${name}`;
    enums.set(full, { name: full, numbers: new Set(value.map(({ number }) => number)) });
  }
  for (const message of nestedType) {
    messages.set(`${prefix}.${message.name}`, message);
    collect(`${prefix}.${message.name}`, message, messages, enums);
  }
}

function wireOf(type: number): number {
  if (DELIMITED.has(type)) return WIRE.delimited;
  if (FIXED64.has(type)) return WIRE.fixed64;
  return FIXED32.has(type) ? WIRE.fixed32 : WIRE.varint;
}
