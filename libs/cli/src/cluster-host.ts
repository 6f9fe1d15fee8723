import type { Access } from '@heddle/client';
import type { ContractName } from '@heddle/ports';

/** A process that owns a data directory and answers on loopback. */
export interface Owner {
  readonly pid: number;
  readonly address: string;
}

export interface BringUpOptions {
  readonly dataDirectory: string;
  /** Contracts to answer; `jobs` is always among them. */
  readonly contracts: readonly ContractName[];
  /** In place of services of its own, the way to those of a cluster. */
  readonly frontDoor?: boolean;
  /** Where to listen; absent: any free port. */
  readonly port?: number;
  /** Also the pages and /metrics over HTTP: for a cluster that stays. */
  readonly standing?: boolean;
  /** Log on stderr. */
  readonly log?: boolean;
  /** Ends the wait for stores that are not there yet. */
  readonly signal?: AbortSignal;
}

export interface LocalCluster {
  readonly address: string;
  /** What lets the process that brought it up in; absent: everybody is let in. */
  readonly access?: Access;
  /** The explorer's page and /metrics; only of a standing cluster. */
  readonly pages: string | undefined;
  /** Resolves when the cluster has ended for another reason than `close`: its parent is gone. */
  readonly abandoned: Promise<void>;
  /** Drains, then ends everything that was brought up. */
  close(graceMs: number): Promise<void>;
}

/** What the composition root gives the command line: the means to find services and to bring them up in this process. */
export interface ClusterHost {
  /** The live process that owns the directory, once it is ready. */
  findOwner(dataDirectory: string): Promise<Owner | undefined>;
  /** Errors: `aborted` when another process came first; `unavailable` when the port is taken. */
  bringUp(options: BringUpOptions): Promise<LocalCluster>;
}

/** What the outside of a command is: tests give their own. */
export interface CommandIo {
  stdout(text: string): void;
  stderr(text: string): void;
  /** All of standard input. */
  stdin(): Promise<Uint8Array>;
  /** Whether stderr is a terminal: only then is progress shown. */
  readonly terminal: boolean;
  /** Columns of the terminal that stdout is; absent where it is a file or a pipe. */
  readonly stdoutColumns?: number | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** First and every further Ctrl-C; returns how to stop listening. */
  onInterrupt(listener: () => void): () => void;
  /** Ends the process at once. */
  exit(status: number): void;
}
