import { assert, resourceExhausted } from '@heddle/core';
import type { Clock, Log } from '@heddle/ports';
import {
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import {
  connect,
  createInbox,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { isMissing, isPassing, natsError, unavailable } from './nats-error.ts';
import { checkServerVersion } from './server-version.ts';

export interface NatsLinkOptions {
  readonly servers: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Begins every subject and, in capitals, every stream: several Heddles can share a server. */
  readonly prefix?: string;
  /** Copies of every stream. Fewer found than asked for is refused. */
  readonly replicas?: number;
  /** Shown in the server's list of connections. */
  readonly name?: string;
  /** Between two looks whether the server still answers; a test says less. */
  readonly pingMs?: number;
  /** Credentials and TLS, as the NATS client takes them. */
  readonly connection?: Pick<
    NodeConnectionOptions,
    'authenticator' | 'user' | 'pass' | 'token' | 'tls' | 'inboxPrefix'
  >;
}

/** A message's answer to: is that all? */
export type Collector = (message: Msg) => boolean;

/** One connection, shared by all adapters of a process: its server is checked when it opens and whenever it comes back. */
export class NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly log: Log;
  readonly prefix: string;
  readonly replicas: number;
  private readonly returns = new Set<() => void>();
  private readonly breaks = new Set<() => void>();
  private readonly inboxPrefix: string | undefined;
  private up = true;
  /** When the server was last there, as far as is known, while it is not. */
  private lostMs = 0;
  private silentMs = 0;
  private breaksCounted = 0;

  private constructor(nc: NatsConnection, jsm: JetStreamManager, options: NatsLinkOptions) {
    this.nc = nc;
    this.jsm = jsm;
    this.js = jetstream(nc, { timeout: NATS_LIMITS.requestMs });
    this.clock = options.clock;
    this.log = options.log;
    this.prefix = options.prefix ?? 'heddle';
    this.replicas = options.replicas ?? 1;
    this.inboxPrefix = options.connection?.inboxPrefix;
    const { pingMs = NATS_LIMITS.pingMs } = options;
    void this.listen(pingMs * NATS_LIMITS.pingsUnanswered);
  }

  /** Errors: `unavailable` when no server answers; `failed_precondition` when it is too old or has no JetStream. */
  static async open(options: NatsLinkOptions): Promise<NatsLink> {
    const { servers, prefix = 'heddle', name = 'heddle' } = options;
    assert(/^[a-z][a-z0-9-]{0,31}$/.test(prefix), () => `'${prefix}' is no prefix`);
    const what = `connecting to ${servers.join(', ')}`;
    const nc = await guarded(what, () =>
      connect({
        ...options.connection,
        servers: [...servers],
        name,
        timeout: NATS_LIMITS.connectMs,
        reconnectTimeWait: NATS_LIMITS.reconnectWaitMs,
        maxReconnectAttempts: -1, // for ever: a process that gave up would have to be restarted by hand
        ignoreAuthErrorAbort: true, // so too while credentials are renewed: the client would close for good at a second refusal
        pingInterval: options.pingMs ?? NATS_LIMITS.pingMs,
        maxPingOut: NATS_LIMITS.pingsUnanswered,
      }),
    ).catch((error: unknown) => {
      const known = error as Error;
      throw known.name === 'Error' ? unavailable(`${what}: ${known.message}`, error) : error;
    });
    try {
      checkServerVersion(nc.info?.version ?? '0.0.0');
      const jsm = await guarded('asking for JetStream', () =>
        jetstreamManager(nc, { timeout: NATS_LIMITS.requestMs }),
      );
      return new NatsLink(nc, jsm, options);
    } catch (error) {
      await nc.close();
      throw error;
    }
  }

  get serverVersion(): string {
    return this.nc.info?.version ?? 'unknown';
  }

  get isUp(): boolean {
    return this.up && !this.nc.isClosed();
  }

  /** Whether it is away for longer than an election or a server's start takes: who calls now would wait for nothing. */
  get isAway(): boolean {
    return !this.isUp && this.clock.monotonic() - this.lostMs >= NATS_LIMITS.patienceMs;
  }

  /** How often the connection broke. */
  get disconnects(): number {
    return this.breaksCounted;
  }

  /** Bytes of one message that are ours to fill. */
  get messageBytesMax(): number {
    return (this.nc.info?.max_payload ?? 1024 * 1024) - NATS_LIMITS.headerBytes;
  }

  /** Errors: `resource_exhausted`, not to be tried again. */
  checkMessage(bytes: number): void {
    const { messageBytesMax } = this;
    if (bytes <= messageBytesMax) return;
    throw resourceExhausted(
      `a message of ${bytes} bytes is too large, at most ${messageBytesMax}: bulk belongs in a blob`,
      { retryable: false, details: { bytes, bytesMax: messageBytesMax } },
    );
  }

  /** Calls back whenever the connection comes back: what was asked for before is lost. */
  onReturn(listener: () => void): () => void {
    this.returns.add(listener);
    return () => this.returns.delete(listener);
  }

  /** A subject of our own, for answers. */
  inbox(): string {
    return createInbox(this.inboxPrefix);
  }

  /**
   * Runs what talks to NATS, with its errors in our codes. While the connection is away it waits a little for it; when
   * it breaks meanwhile that is said at once, because the client itself would wait for an answer that cannot come.
   */
  async call<T>(what: string, body: () => Promise<T>): Promise<T> {
    await this.whenUp(what);
    const broken = Promise.withResolvers<never>();
    const onBreak = (): void => broken.reject(unavailable(`${what}: the connection to NATS broke`));
    this.breaks.add(onBreak);
    try {
      return await guarded(what, () => Promise.race([body(), broken.promise]));
    } finally {
      this.breaks.delete(onBreak);
    }
  }

  /** `call` again and again while NATS is away or elects a leader; for what may be done twice. */
  async patiently<T>(what: string, body: () => Promise<T>): Promise<T> {
    const untilMs = this.clock.monotonic() + NATS_LIMITS.patienceMs;
    for (;;) {
      try {
        return await this.call(what, body);
      } catch (error) {
        const late = this.clock.monotonic() >= untilMs;
        if (late || !isPassing(error) || isMissing(error) || this.nc.isClosed()) throw error;
      }
      await this.clock.sleep(NATS_LIMITS.retryMs);
    }
  }

  /** One request, one answer. */
  request(what: string, subject: string, payload: string): Promise<Msg> {
    return this.call(what, () =>
      this.nc.request(subject, payload, { timeout: NATS_LIMITS.requestMs }),
    );
  }

  /**
   * One request, several answers, until the collector has all. Errors: `unavailable` when it does not in time: the
   * client's own iterators wait for ever for a batch that a dying server began.
   */
  async gather(subject: string, payload: string, collect: Collector): Promise<void> {
    await this.whenUp(`asking ${subject}`);
    const inbox = this.inbox();
    await new Promise<void>((resolve, reject) => {
      const end = (error?: unknown): void => {
        clearTimeout(timer);
        this.breaks.delete(lost);
        sub.unsubscribe();
        if (error === undefined) resolve();
        else reject(error);
      };
      const lost = (): void => end(unavailable('the connection to NATS broke in an answer'));
      const timer = setTimeout(
        () => end(unavailable(`NATS did not answer whole in ${NATS_LIMITS.pageMs} ms`)),
        NATS_LIMITS.pageMs,
      );
      this.breaks.add(lost);
      const sub = this.nc.subscribe(inbox, {
        callback: (error, message) => {
          if (error) return end(error);
          try {
            if (collect(message)) end();
          } catch (thrown) {
            end(thrown);
          }
        },
      });
      try {
        this.nc.publish(subject, payload, { reply: inbox });
      } catch (error) {
        end(error); // closed meanwhile
      }
    });
  }

  /** Sends what is waiting, then closes; never waits longer than stated. */
  async close(): Promise<void> {
    if (this.nc.isClosed()) return;
    const patience = new AbortController();
    const late = this.clock.sleep(NATS_LIMITS.closeMs, patience.signal);
    await Promise.race([this.nc.flush().catch(() => undefined), late]);
    patience.abort('closed');
    await this.nc.close();
  }

  /** `unheardMs`: how long a server said nothing whose pings are given up. */
  private async listen(unheardMs: number): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'staleConnection') this.silentMs = unheardMs;
      if (status.type === 'disconnect') this.onDown();
      if (status.type === 'reconnect') this.onUp();
      if (status.type === 'error') this.log.warn('NATS reports an error', { error: status.error });
    }
    this.up = false;
  }

  private async whenUp(what: string): Promise<void> {
    if (this.isUp) return;
    const back = new AbortController();
    const leave = this.onReturn(() => back.abort('back'));
    await this.clock.sleep(NATS_LIMITS.requestMs, back.signal);
    leave();
    if (!this.isUp) throw unavailable(`${what}: NATS is away`);
  }

  private onDown(): void {
    if (this.up) this.lostMs = this.clock.monotonic() - this.silentMs;
    this.silentMs = 0;
    this.up = false;
    this.breaksCounted += 1;
    for (const onBreak of [...this.breaks]) onBreak();
    this.log.warn('the connection to NATS broke; trying to come back');
  }

  private onUp(): void {
    this.up = true;
    const version = this.serverVersion;
    this.log.info('NATS is back', { server: this.nc.getServer(), version });
    try {
      checkServerVersion(version);
    } catch (error) {
      // A mixed cluster: closing makes every call fail with a reason instead of some silently behaving otherwise.
      this.log.error('the server that NATS came back on is refused', { error });
      void this.nc.close();
    }
    for (const listener of [...this.returns]) listener();
  }
}

/** Runs what talks to NATS, with its errors in our codes. */
export async function guarded<T>(what: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw natsError(error, what);
  }
}
