import { resolve } from 'node:path';
import type { Access, Heddle } from '@heddle/client';
import { failedPrecondition, OperationError } from '@heddle/core';
import type { ContractName, Tracing } from '@heddle/ports';
import { type AccessOptions, accessOf } from './access.ts';
import type { ClusterHost, CommandIo, LocalCluster, Owner } from './cluster-host.ts';
import { InterruptedError } from './exit-status.ts';
import { jsonText } from './show.ts';

/** Options that every command takes. */
export interface GlobalOptions extends AccessOptions {
  readonly json?: boolean;
  readonly data?: string;
  readonly server?: string;
}

export interface SessionNeeds {
  /** What this command calls; brought up in this process when no other one answers. */
  readonly contracts: readonly ContractName[];
  /** The work must outlive this process. */
  readonly detach?: boolean;
}

const DATA_DIRECTORY = '.heddle';
/** Calls of other processes that came to us may take this long to finish when our own work is done. */
const GRACE_MS = 20_000;
/** A process that we were connected to has ended: how often another is looked for, or its place taken. */
const MOVES_MAX = 3;

/** One run of the command: its options, its output, and the way to a cluster. */
export class Invocation {
  readonly io: CommandIo;
  readonly host: ClusterHost;
  /** Where somebody asked for traces. */
  tracing: Tracing | undefined;
  private options: GlobalOptions = {};
  private readonly controller = new AbortController();
  private interrupts = 0;

  constructor(io: CommandIo, host: ClusterHost) {
    this.io = io;
    this.host = host;
  }

  /** Fires at the first Ctrl-C. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get json(): boolean {
    return this.options.json === true;
  }

  get dataDirectory(): string {
    const { environment, workingDirectory } = this.io;
    return resolve(
      workingDirectory,
      this.options.data ?? environment['HEDDLE_DATA'] ?? DATA_DIRECTORY,
    );
  }

  /** The cluster that was named, if one was. */
  get server(): string | undefined {
    const named = this.options.server ?? this.io.environment['HEDDLE_SERVER'];
    return named === '' ? undefined : named;
  }

  /** How a further command reaches what this one did: `heddle` with the options that were given. Never a token, which is a secret. */
  get heddle(): string {
    const { server, data, tlsCa } = this.options;
    const given = { '--server': server, '--data': data, '--tls-ca': tlsCa };
    const options = Object.entries(given).flatMap(([name, value]) =>
      value === undefined ? [] : [name, quoted(value)],
    );
    return ['heddle', ...options].join(' ');
  }

  use(options: GlobalOptions): void {
    this.options = options;
  }

  /** The first Ctrl-C asks the work to stop, the second leaves it. */
  interrupt(): void {
    this.interrupts++;
    if (this.interrupts > 1) this.io.exit(130);
    else this.controller.abort(new InterruptedError('interrupted'));
  }

  /** With --json the document, else the text. One of the two is all that a command ever writes to stdout. */
  print(document: unknown, text: string): void {
    this.io.stdout(this.json ? `${jsonText(document)}\n` : ensureNewline(text));
  }

  /** A line for people, beside the result. */
  note(text: string): void {
    if (!this.json) this.io.stderr(`${text}\n`);
  }

  /**
   * Runs `body` against the named server, the process that owns the data directory, or services brought up here. When
   * the owner ends meanwhile, another is found or its place taken: so `body` must be safe to run again (jobs are
   * started under a key).
   */
  async withHeddle<T>(needs: SessionNeeds, body: (heddle: Heddle) => Promise<T>): Promise<T> {
    if (this.server !== undefined) {
      return this.against(this.server, await accessOf(this.io, this.options), body);
    }
    for (let moves = 0; ; moves++) {
      const owner = await this.host.findOwner(this.dataDirectory);
      if (owner === undefined && needs.detach) throw nothingRuns(this);
      try {
        const own = async (heddle: Heddle) =>
          (await import('./import-model.ts')).importedFirst(this, heddle, body);
        if (owner !== undefined) return await this.againstOwner(owner, own);
        return await this.inProcess(needs, own);
      } catch (thrown) {
        // Its owner went away, or another process was first to take its place.
        const gone = owner === undefined ? 'aborted' : 'unavailable';
        const { code } = OperationError.from(thrown);
        if (code !== gone || moves >= MOVES_MAX || this.signal.aborted) throw thrown;
      }
    }
  }

  /** One that has TLS says so in its address. */
  private async againstOwner<T>(
    { address }: Owner,
    body: (heddle: Heddle) => Promise<T>,
  ): Promise<T> {
    const { tls, ...access } = await accessOf(this.io, this.options);
    return this.against(address, address.startsWith('https:') ? { tls, ...access } : access, body);
  }

  private async against<T>(
    address: string,
    access: Access,
    body: (heddle: Heddle) => Promise<T>,
  ): Promise<T> {
    const { connect } = await import('@heddle/client'); // gRPC: not for --help or a slip of the pen
    const heddle = connect(address, { ...access, tracing: this.tracing });
    try {
      await heddle.ready();
      return await body(this.server === undefined ? impatient(heddle) : heddle);
    } finally {
      heddle.close();
    }
  }

  private async inProcess<T>(
    { contracts }: SessionNeeds,
    body: (heddle: Heddle) => Promise<T>,
  ): Promise<T> {
    const cluster: LocalCluster = await this.host.bringUp({
      dataDirectory: this.dataDirectory,
      contracts,
    });
    try {
      return await this.against(cluster.address, cluster.access ?? {}, body);
    } finally {
      await cluster.close(GRACE_MS);
    }
  }
}

/** On a data directory nobody starts the owner again: when it is gone, we take its place. */
const impatient = (heddle: Heddle): Heddle => ({
  ...heddle,
  waitForJob: (id, options) => heddle.waitForJob(id, { patienceMs: 0, ...options }),
});

function nothingRuns({ dataDirectory, heddle }: Invocation): OperationError {
  return failedPrecondition(
    `--detach leaves the job to a running cluster, and none runs on ${dataDirectory}: start one with \`${heddle} up\``,
    { field: 'detach', details: { data: dataDirectory } },
  );
}

/** As a shell reads it. */
const quoted = (word: string): string =>
  /^[\w.,:/@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

const ensureNewline = (text: string) => (text === '' || text.endsWith('\n') ? text : `${text}\n`);
