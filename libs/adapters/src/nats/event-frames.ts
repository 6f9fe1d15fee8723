import { assert, dataLoss } from '@heddle/core';

/** The first byte of a message of the journal; older forms are read for ever. */
const FORM = 1;
const LENGTH_BYTES = 4;

/**
 * Events appended together as one message, so that JetStream stores all or none of them:
 *
 *     form · length₁ (u32, little endian) · bytes₁ · length₂ · bytes₂ …
 */
export function packEvents(events: readonly Uint8Array[]): Uint8Array {
  const total = events.reduce((sum, { length }) => sum + LENGTH_BYTES + length, 1);
  const message = new Uint8Array(total);
  const view = new DataView(message.buffer);
  message[0] = FORM;
  let at = 1;
  for (const event of events) {
    view.setUint32(at, event.length, true);
    message.set(event, at + LENGTH_BYTES);
    at += LENGTH_BYTES + event.length;
  }
  assert(at === total, 'frames fill the message');
  return message;
}

/** Errors: `data_loss` for what `packEvents` did not make. */
export function unpackEvents(message: Uint8Array): readonly Uint8Array[] {
  const broken = (why: string): never => {
    throw dataLoss(`a message of the journal cannot be read: ${why}`);
  };
  if (message[0] !== FORM) broken(`its form is ${message[0]}, this Heddle reads ${FORM}`);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const events: Uint8Array[] = [];
  for (let at = 1; at < message.length; ) {
    if (at + LENGTH_BYTES > message.length) broken('it ends in a length');
    const end = at + LENGTH_BYTES + view.getUint32(at, true);
    if (end > message.length) broken('it ends in an event');
    events.push(message.slice(at + LENGTH_BYTES, end));
    at = end;
  }
  return events;
}
