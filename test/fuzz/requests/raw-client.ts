import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';

export interface RawReply {
  /** grpc-status; undefined when the server sent none. */
  readonly status: number | undefined;
  readonly message: string;
  /** Whether the error carries our typed detail. */
  readonly typed: boolean;
  /** That detail, as it came: a google.rpc.Status. */
  readonly details: Uint8Array | undefined;
  /** Message bodies, without their five bytes of framing. */
  readonly messages: readonly Uint8Array[];
  /** What became of the call where it has no status: nothing within the limit, a reset, or another HTTP answer. */
  readonly broken: string | undefined;
}

export interface RawCall {
  /** `/heddle.activation.v1.ActivationService/Run` */
  readonly path: string;
  /** Everything behind the headers: frames, or what pretends to be. */
  readonly body: Uint8Array;
  readonly limitMs: number;
}

/** A message in gRPC's frame; `flag` and `stated` say otherwise where a test wants to lie. */
export function frame(message: Uint8Array, { flag = 0, stated = message.length } = {}): Uint8Array {
  const out = new Uint8Array(5 + message.length);
  out[0] = flag;
  new DataView(out.buffer).setUint32(1, stated);
  out.set(message, 5);
  return out;
}

/** gRPC's wire spoken by hand, so that nothing of ours or of grpc-js refuses to send what it is told to. */
export class RawClient {
  private readonly address: string;
  private session: ClientHttp2Session | undefined;
  /** Connections that the server closed on us, or that broke. */
  reconnects = 0;

  constructor(address: string) {
    this.address = address;
  }

  call({ path, body, limitMs }: RawCall): Promise<RawReply> {
    const stream = this.open().request({
      ':method': 'POST',
      ':path': path,
      te: 'trailers',
      'content-type': 'application/grpc',
      'grpc-timeout': `${limitMs}m`,
    });
    const reply = replyOf(stream, 2 * limitMs);
    stream.end(body);
    return reply;
  }

  close(): void {
    this.session?.destroy();
  }

  private open(): ClientHttp2Session {
    if (this.session && !this.session.closed && !this.session.destroyed) return this.session;
    if (this.session) this.reconnects++;
    this.session = connect(`http://${this.address}`);
    this.session.on('error', () => {}); // calls tell what happened to them
    return this.session;
  }
}

function replyOf(stream: ClientHttp2Stream, limitMs: number): Promise<RawReply> {
  const { promise, resolve } = Promise.withResolvers<RawReply>();
  const chunks: Uint8Array[] = [];
  let headers: Record<string, unknown> = {};
  let broken: string | undefined;
  const timer = setTimeout(() => {
    broken = `no end within ${limitMs} ms`;
    stream.close();
  }, limitMs);
  stream.on('data', (chunk: Uint8Array) => chunks.push(chunk));
  stream.on('response', (first) => {
    headers = { ...headers, ...first };
  });
  stream.on('trailers', (last) => {
    headers = { ...headers, ...last };
  });
  stream.on('error', (error) => {
    broken ??= error.message;
  });
  stream.on('close', () => {
    clearTimeout(timer);
    const text = headers['grpc-status'];
    const status = typeof text === 'string' ? Number(text) : undefined;
    const details = headers['grpc-status-details-bin'];
    resolve({
      status,
      message: decodeURIComponent(String(headers['grpc-message'] ?? '')),
      typed: details !== undefined,
      details: details === undefined ? undefined : Buffer.from(String(details), 'base64'),
      messages: framesOf(chunks),
      broken: status === undefined ? (broken ?? `HTTP ${headers[':status']}`) : undefined,
    });
  });
  return promise;
}

function framesOf(chunks: readonly Uint8Array[]): readonly Uint8Array[] {
  const all = Buffer.concat(chunks);
  const messages: Uint8Array[] = [];
  for (let at = 0; at + 5 <= all.length; ) {
    const length = all.readUInt32BE(at + 1);
    messages.push(all.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return messages;
}
