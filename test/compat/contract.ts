import { present } from '@heddle/core';
import protobuf from 'protobufjs';
import 'protobufjs/ext/descriptor/index.js';

/** What a message looks like to a caller; as grpc's own loader reads it. */
const AS_READ = { longs: Number, enums: String, defaults: true, oneofs: false } as const;

const ERROR_DETAIL = 'heddle.common.v1.ErrorDetail';

/** The messages of a descriptor set, of whatever landing: what a client of then could write and read. */
export class Contract {
  private readonly root: protobuf.Root;

  constructor(descriptorSet: Uint8Array) {
    const { Root } = protobuf as unknown as {
      readonly Root: { fromDescriptor(bytes: Uint8Array): protobuf.Root };
    };
    this.root = Root.fromDescriptor(descriptorSet);
    this.root.resolveAll();
  }

  /** `/heddle.jobs.v1.JobsService/Get`, all of them. */
  get paths(): readonly string[] {
    const found: string[] = [];
    const walk = (namespace: protobuf.NamespaceBase): void => {
      for (const each of namespace.nestedArray) {
        if (each instanceof protobuf.Service) {
          const service = each.fullName.slice(1);
          found.push(...each.methodsArray.map(({ name }) => `/${service}/${name}`));
        } else if (each instanceof protobuf.Namespace) walk(each);
      }
    };
    walk(this.root);
    return found.sort();
  }

  /** Errors: a field that this contract lacks. */
  encodeRequest(path: string, message: object): Uint8Array {
    const type = present(this.method(path).resolvedRequestType, path);
    const bytes = type.encode(type.fromObject(message)).finish();
    const read = type.toObject(type.decode(bytes), { enums: String, longs: Number });
    refuseLost(message, read, path);
    return bytes;
  }

  decodeResponse(path: string, bytes: Uint8Array): Record<string, unknown> {
    const type = present(this.method(path).resolvedResponseType, path);
    return type.toObject(type.decode(bytes), AS_READ);
  }

  /** Our detail in google.rpc.Status { code = 1, message = 2, details = 3: Any { type_url = 1, value = 2 } }. */
  decodeDetail(status: Uint8Array): Record<string, unknown> {
    const any = fieldOf(status, 3);
    const type = this.root.lookupType(ERROR_DETAIL);
    return type.toObject(type.decode(fieldOf(any, 2)), AS_READ);
  }

  private method(path: string): protobuf.Method {
    const [, service = '', name = ''] = path.split('/');
    return present(this.root.lookupService(service).methods[name], path);
  }
}

function fieldOf(bytes: Uint8Array, wanted: number): Uint8Array {
  for (const reader = protobuf.Reader.create(bytes); reader.pos < reader.len; ) {
    const tag = reader.uint32();
    if (tag === ((wanted << 3) | 2)) return reader.bytes();
    reader.skipType(tag & 7);
  }
  throw new Error(`no field ${wanted}`);
}

/** protobufjs leaves out what it does not know: a scenario of now would be recorded as another one. */
function refuseLost(said: unknown, read: unknown, where: string): void {
  if (typeof said !== 'object' || said === null || ArrayBuffer.isView(said)) return;
  for (const [key, value] of Object.entries(said)) {
    const kept = (read as Record<string, unknown> | undefined)?.[key];
    if (kept === undefined) throw new Error(`${where}: this contract has no ${key}`);
    refuseLost(value, kept, `${where}.${key}`);
  }
}
