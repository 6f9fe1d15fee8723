import { fileURLToPath } from 'node:url';
import { type Launched, launch } from '../processes/launch.ts';
import { cpuSeconds, rssBytes } from './process-usage.ts';

const MAIN = fileURLToPath(new URL('../../../../services/embedded/src/main.ts', import.meta.url));

export const CLUSTER_SERVICES = [
  'activation',
  'lorsa',
  'qk',
  'circuit',
  'attribution',
  'explorer',
] as const;
export type ServiceName = (typeof CLUSTER_SERVICES)[number];

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** One line of a process's log. */
export interface LogEntry {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface ProcessSettings {
  readonly name: string;
  readonly services: readonly ServiceName[];
  readonly port: number;
  readonly httpPort: number;
  /** Its own folder: scratch, caches, and its lock. */
  readonly data: string;
  readonly env: Readonly<Record<string, string>>;
  readonly main?: string | undefined;
  /** A command that runs the rest of its arguments (`ip netns exec worker`). */
  readonly within?: readonly string[] | undefined;
}

/** A process is ready after some seconds; on a machine that does much else after many. */
const READY_MS = 240_000;

/** A process of a cluster: started again, it has the same folder and the same ports. */
export class ClusterProcess {
  readonly name: string;
  readonly services: readonly ServiceName[];
  readonly address: string;
  readonly pages: string;
  readonly data: string;
  private readonly settings: ProcessSettings;
  private readonly earlier: string[] = [];
  private run: Launched | undefined;
  private ended = true;
  private serves: Promise<unknown> = Promise.resolve();
  runs = 0;

  constructor(settings: ProcessSettings) {
    this.settings = settings;
    this.name = settings.name;
    this.services = settings.services;
    this.data = settings.data;
    this.address = `127.0.0.1:${settings.port}`;
    this.pages = `http://127.0.0.1:${settings.httpPort}`;
  }

  get pid(): number {
    return this.running().pid;
  }

  get alive(): boolean {
    return !this.ended;
  }

  get exited(): Promise<Exit> {
    return this.running().exited;
  }

  /** Starts it without waiting until it serves. */
  launch(): void {
    if (this.alive) throw new Error(`${this.name} runs already`);
    const { services, port, httpPort, data, env, main = MAIN, within } = this.settings;
    if (this.run !== undefined) this.earlier.push(this.run.stderr());
    const args = ['up', '--json', '--services', services.join(','), '--port', `${port}`];
    const run = launch(main, args, {
      env: { HEDDLE_SERVER: '', ...env, HEDDLE_DATA: data, HEDDLE_HTTP_PORT: `${httpPort}` },
      ...(within === undefined ? {} : { within }),
    });
    this.run = run;
    this.runs += 1;
    this.ended = false;
    this.serves = run.line(/^\{"address":/);
    this.serves.catch(() => undefined); // told to who asks
    void run.exited.then(() => {
      if (this.run === run) this.ended = true;
    });
  }

  async start(timeoutMs?: number): Promise<void> {
    this.launch();
    await this.ready(timeoutMs);
  }

  /** Resolves when it has said where it serves, which it does once it is ready. */
  async ready(timeoutMs = READY_MS): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const tell = () =>
        reject(new Error(`${this.name} is not ready after ${timeoutMs} ms\n${this.stderr()}`));
      timer = setTimeout(tell, timeoutMs);
    });
    await Promise.race([this.serves, late]).finally(() => clearTimeout(timer));
  }

  signal(name: NodeJS.Signals): void {
    this.running().kill(name);
  }

  /** Sends the signal and waits for the end. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.signal(signal);
    return this.exited;
  }

  /** SIGTERM, and how long the drain took. */
  async stop(): Promise<Exit & { readonly ms: number }> {
    const startedMs = performance.now();
    const exit = await this.kill('SIGTERM');
    return { ...exit, ms: performance.now() - startedMs };
  }

  async restart(): Promise<void> {
    if (this.alive) await this.kill();
    await this.start();
  }

  /** Of all its runs; of each the last 64 KiB. */
  stderr(): string {
    return [...this.earlier, this.run?.stderr() ?? ''].join('');
  }

  log(): readonly LogEntry[] {
    return this.stderr()
      .split('\n')
      .flatMap((line) => {
        try {
          return line.startsWith('{') ? [JSON.parse(line) as LogEntry] : [];
        } catch {
          return []; // cut by a kill, or by the end of what is kept
        }
      });
  }

  rssBytes(): Promise<number> {
    return rssBytes(this.pid);
  }

  cpuSeconds(): Promise<number> {
    return cpuSeconds(this.pid);
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.pages}/metrics`)).text();
  }

  /** The value of one series as it is exposed, with its labels; NaN when it is not. */
  async metric(series: string): Promise<number> {
    const line = (await this.metrics()).split('\n').find((each) => each.startsWith(`${series} `));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  }

  private running(): Launched {
    if (this.run === undefined) throw new Error(`${this.name} was not started`);
    return this.run;
  }
}
