import { connect, createServer, type Socket } from 'node:net';

/** What one side sent and the other has not got yet is kept up to here; then the sender is not read from, as by a full window. */
const HELD_BYTES_MAX = 4 * 1024 * 1024;

/** A network between one client and its server, to be cut. */
export interface TcpProxy {
  readonly port: number;
  /** Nothing gets through, either way; new connections stay unanswered. What is sent waits, as packets do that are sent again. */
  cut(): void;
  /**
   * Cuts by itself at the moment at which a client sends this text, which is then the first that does not arrive. Resolves to true when that
   * happened, to false when it was disarmed before.
   */
  cutBefore(text: string): { readonly happened: Promise<boolean>; disarm(): void };
  /** What waited arrives, in order. */
  heal(): void;
  readonly isCut: boolean;
  close(): Promise<void>;
}

interface Trap {
  readonly text: Buffer;
  readonly settle: (happened: boolean) => void;
}

/** One direction of one connection. */
class Pipe {
  private readonly from: Socket;
  private readonly to: Socket;
  private held: Buffer[] = [];
  private heldBytes = 0;
  private ended = false;

  constructor(from: Socket, to: Socket, isOpen: (chunk: Buffer) => boolean) {
    this.from = from;
    this.to = to;
    from.on('data', (chunk: Buffer) => {
      if (isOpen(chunk)) this.pass(chunk);
      else this.hold(chunk);
    });
    to.on('drain', () => this.heldBytes === 0 && from.resume());
    from.on('error', () => undefined); // `close` follows
    from.on('close', () => {
      this.ended = true;
      if (isOpen(Buffer.alloc(0))) to.destroy();
    });
  }

  heal(): void {
    const held = this.held;
    this.held = [];
    this.heldBytes = 0;
    for (const chunk of held) this.pass(chunk);
    if (this.ended) this.to.destroySoon();
    else this.from.resume();
  }

  private pass(chunk: Buffer): void {
    if (this.to.writable && !this.to.write(chunk)) this.from.pause();
  }

  private hold(chunk: Buffer): void {
    this.held.push(chunk);
    this.heldBytes += chunk.length;
    if (this.heldBytes > HELD_BYTES_MAX) this.from.pause();
  }
}

/** A port on loopback that leads to another one. */
export async function openProxy(target: number): Promise<TcpProxy> {
  let isCut = false;
  let trap: Trap | undefined;
  const pipes = new Set<Pipe>();
  const sockets = new Set<Socket>();
  const unanswered = new Set<Socket>();
  const spring = (): void => {
    isCut = true;
    trap?.settle(true);
    trap = undefined;
  };
  const join = (client: Socket): void => {
    const server = connect(target, '127.0.0.1');
    let tail = Buffer.alloc(0);
    const up = new Pipe(client, server, (chunk) => {
      if (trap !== undefined && !isCut && chunk.length > 0) {
        const seen = Buffer.concat([tail, chunk]);
        tail = seen.subarray(Math.max(0, seen.length - trap.text.length));
        if (seen.includes(trap.text)) spring();
      }
      return !isCut;
    });
    const down = new Pipe(server, client, () => !isCut);
    for (const pipe of [up, down]) pipes.add(pipe);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on('close', () => {
        sockets.delete(socket);
        if (!client.destroyed || !server.destroyed) return;
        for (const pipe of [up, down]) pipes.delete(pipe);
      });
    }
  };
  const listener = createServer((client) => {
    if (!isCut) return join(client);
    unanswered.add(client);
    client.on('error', () => undefined);
    client.on('close', () => unanswered.delete(client));
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const address = listener.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    cut: () => {
      isCut = true;
    },
    cutBefore: (text) => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const mine: Trap = { text: Buffer.from(text), settle: resolve };
      trap?.settle(false);
      trap = mine;
      const disarm = (): void => {
        if (trap === mine) trap = undefined;
        resolve(false);
      };
      return { happened: promise, disarm };
    },
    heal: () => {
      isCut = false;
      for (const pipe of [...pipes]) pipe.heal();
      for (const client of unanswered) join(client);
      unanswered.clear();
    },
    get isCut() {
      return isCut;
    },
    close: async () => {
      trap?.settle(false);
      for (const socket of [...sockets, ...unanswered]) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
