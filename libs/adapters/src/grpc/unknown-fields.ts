import { invalidArgument, type OperationError, VERSION } from '@heddle/core';
import { type EnumShape, type FieldShape, type MessageShape, WIRE } from './message-shapes.ts';

/** What a walk found, and where. */
interface Finding {
  readonly kind: 'field' | 'value' | 'wire' | 'broken';
  /** The message, or the enum, of this server that does not know it. */
  readonly type: string;
  /** Of the field, the enum's value, or the wire type. */
  readonly number: number;
  /** Names from the outermost message inwards. */
  readonly path: readonly string[];
  /** Which of the numbers packed into one field it is. */
  readonly entry?: number;
}

/**
 * Refuses bytes that say what the message's type, as this server knows it, cannot hold: an unknown field, a field in another
 * wire type, an unknown value of an enum, or what is no message at all. protobufjs skips the first, misreads the second and
 * hands on the third, and the caller would get the answer to another question than it asked.
 *
 * Reads tags and lengths only: a field of a megabyte costs what a field of a byte costs.
 * Errors: `invalid_argument` with the field (`prompts[2].#99`), the type that lacks it, and this server's version.
 */
export function refuseUnknown(bytes: Uint8Array, shape: MessageShape): void {
  const found = new Walk(bytes).message(0, bytes.length, shape);
  if (found !== undefined) throw refusal(found);
}

class Walk {
  private readonly bytes: Uint8Array;
  /** Behind what was read last; -1 when that did not end where it had to. */
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  message(start: number, end: number, shape: MessageShape): Finding | undefined {
    const { fields, name: type } = shape;
    this.at = start;
    while (this.at < end) {
      const tagAt = this.at;
      const tag = this.varint(end);
      const number = tag >>> 3;
      if (this.at < 0 || number === 0) return { kind: 'broken', type, number, path: [] };
      const field = fields.get(number);
      if (field === undefined) return { kind: 'field', type, number, path: [`#${number}`] };
      const found = this.field(tag & 7, end, field, type);
      if (found === undefined) continue;
      const { entry = 0, ...rest } = found;
      // Counted only now, in a message that is refused anyway.
      const index = field.repeated ? `[${this.entries(start, tagAt, number) + entry}]` : '';
      return { ...rest, path: [`${field.name}${index}`, ...found.path] };
    }
    return undefined;
  }

  private field(wire: number, end: number, field: FieldShape, type: string): Finding | undefined {
    const packed = wire === WIRE.delimited && field.repeated && field.wire !== WIRE.delimited;
    if (wire !== field.wire && !packed) return { kind: 'wire', type, number: wire, path: [] };
    const start = this.content(wire, end);
    const next = this.at;
    if (next < 0) return { kind: 'broken', type, number: 0, path: [] };
    const { message, values } = field;
    const found =
      message !== undefined
        ? this.message(start, next, message)
        : values && this.values(start, next, values);
    this.at = next;
    return found;
  }

  /** Where a value's own bytes begin; goes on behind its last one. */
  private content(wire: number, end: number): number {
    const start = this.at;
    if (wire === WIRE.varint) {
      this.varint(end);
      return start;
    }
    const length = wire === WIRE.delimited ? this.varint(end) >>> 0 : wire === WIRE.fixed64 ? 8 : 4;
    if (this.at < 0) return start;
    const content = this.at;
    this.at = length <= end - content ? content + length : -1;
    return content;
  }

  private values(start: number, end: number, known: EnumShape): Finding | undefined {
    this.at = start;
    for (let entry = 0; this.at < end; entry++) {
      const number = this.varint(end);
      if (this.at < 0) return { kind: 'broken', type: known.name, number, path: [] };
      if (!known.numbers.has(number)) {
        return { kind: 'value', type: known.name, number, path: [], entry };
      }
    }
    return undefined;
  }

  /** How often a message from `start` has the field before `end`. */
  private entries(start: number, end: number, number: number): number {
    let count = 0;
    this.at = start;
    while (this.at < end) {
      const tag = this.varint(end);
      if (tag >>> 3 === number) count++;
      this.content(tag & 7, end);
    }
    return count;
  }

  /** The low 32 bits of a varint. */
  private varint(end: number): number {
    const { bytes } = this;
    let value = 0;
    for (let shift = 0; shift < 70 && this.at < end; shift += 7) {
      const byte = bytes[this.at++] ?? 0;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    this.at = -1;
    return -1;
  }
}

const OLDER = `which is older than the client (version ${VERSION}): update the server, or leave it out`;

function refusal({ kind, type, number, path }: Finding): OperationError {
  const field = path.join('.');
  const details = { kind, type, number, server_version: VERSION };
  const say = (text: string) => invalidArgument(text, { ...(field && { field }), details });
  switch (kind) {
    case 'field':
      return say(`${field}: ${type} has no field ${number} in this server, ${OLDER}`);
    case 'value':
      return say(`${field}: ${type} has no value ${number} in this server, ${OLDER}`);
    case 'wire':
      return say(
        `${field}: ${type} has this field in another wire type than ${number}; the client's contract is not that of this server (version ${VERSION})`,
      );
    default:
      return say(`the request is no message: ${type} ends or breaks off at ${field || 'its top'}`);
  }
}
