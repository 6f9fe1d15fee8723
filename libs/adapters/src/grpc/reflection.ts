import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import protobuf from 'protobufjs/minimal.js';
import { descriptorSet } from './contracts.ts';

/** Serves the files of the descriptor set as buf built them; those that proto-loader makes up of them lack their imports. */
export function addReflection(server: Server): void {
  const files = { heddle: { fileDescriptorProtos: filesOf(descriptorSet()) } };
  new ReflectionService(files as unknown as PackageDefinition).addToServer(server);
}

/** FileDescriptorSet { repeated FileDescriptorProto file = 1 } → the encoded files. */
function filesOf(set: Uint8Array): Buffer[] {
  const files: Buffer[] = [];
  for (const reader = protobuf.Reader.create(set); reader.pos < reader.len; ) {
    const tag = reader.uint32();
    if (tag === 10) files.push(Buffer.from(reader.bytes()));
    else reader.skipType(tag & 7);
  }
  return files;
}
