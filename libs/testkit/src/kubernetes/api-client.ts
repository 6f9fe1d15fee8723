import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';

/** An object as the API server gives it; what a test looks at, it says by its own type. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
}

/** Reads the API server without a process for each look: tests look several times a second. */
export class ApiClient {
  private readonly server: string;
  private readonly token: string;
  private readonly agent: Agent;

  constructor(server: string, token: string, ca: string) {
    this.server = server;
    this.token = token;
    this.agent = new Agent({ keepAlive: true, ca });
  }

  /** The object, or list, at a path: `/apis/apps/v1/namespaces/a/deployments`. Errors: the server's status and message. */
  async get<T>(path: string): Promise<T> {
    const response = await this.answer(path);
    let text = '';
    for await (const piece of response.setEncoding('utf8')) text += piece;
    if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode} ${text}`);
    return (text.startsWith('{') ? JSON.parse(text) : text) as T;
  }

  /** As `get`; undefined when there is no such object. */
  find<T>(path: string): Promise<T | undefined> {
    return this.get<T>(path).catch((error: Error) => {
      if (error.message.startsWith(`${path}: 404`)) return undefined;
      throw error;
    });
  }

  async list<T = KubernetesObject>(path: string): Promise<readonly T[]> {
    return (await this.get<{ readonly items: readonly T[] }>(path)).items;
  }

  /**
   * The objects of a list, and every state that they pass through from then on, in order, until it is told to stop. A watch that
   * names no version begins with what the server last remembers, which may be older than what it has just said.
   */
  async watch<T>(
    path: string,
    seen: (event: { readonly type: string; readonly object: T }) => void,
  ): Promise<{ readonly now: readonly T[]; stop(): void }> {
    const { items, metadata } = await this.get<{
      readonly items: readonly T[];
      readonly metadata: { readonly resourceVersion: string };
    }>(path);
    const query = `watch=true&resourceVersion=${metadata.resourceVersion}`;
    const response = await this.answer(`${path}?${query}`);
    if (response.statusCode !== 200) throw new Error(`watching ${path}: ${response.statusCode}`);
    createInterface({ input: response }).on('line', (line) => {
      if (line !== '') seen(JSON.parse(line));
    });
    response.on('error', () => undefined); // our own destroy
    return { now: items, stop: () => response.destroy() };
  }

  close(): void {
    this.agent.destroy();
  }

  private answer(path: string): Promise<IncomingMessage> {
    const { server, token, agent } = this;
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      request(`${server}${path}`, { agent, headers }, resolve).once('error', reject).end();
    });
  }
}
