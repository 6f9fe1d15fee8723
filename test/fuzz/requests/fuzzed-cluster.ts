import { type ChildProcess, fork } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type Heddle } from '@heddle/client';
import { present } from '@heddle/core';
import type { ErrorDetail, Job } from '@heddle/ports/proto/common';
import { temporaryFolder } from '@heddle/testkit';
import { BASE_FOLDERS } from '../files/base-folders.ts';
import { ORDINARY_RUN } from './base-requests.ts';
import { RawClient, type RawReply } from './raw-client.ts';
import { METHODS, type RequestMutant } from './request-mutants.ts';

/** What a started job may take before it is cancelled: the tiny ones end, the hostile ones need not. */
const JOB_MS = 250;

interface Imported {
  readonly models: readonly { readonly name: string; readonly source: string }[];
  readonly remove: () => Promise<void>;
}

/** A cluster in a process of its own, with the tiny models imported under their names. */
export class FuzzedCluster {
  readonly raw: RawClient;
  /** How the process ended, if it did. */
  died: string | undefined;
  private readonly child: ChildProcess;
  private readonly heddle: Heddle;
  private readonly models: readonly { readonly name: string; readonly source: string }[];
  private readonly remove: () => Promise<void>;

  private constructor(child: ChildProcess, address: string, { models, remove }: Imported) {
    this.child = child;
    this.models = models;
    this.remove = remove;
    this.raw = new RawClient(address);
    this.heddle = connect(address);
    child.once('exit', (code, signal) => {
      this.died = `${signal ?? `status ${code}`}`;
    });
  }

  static async start(models: readonly string[]): Promise<FuzzedCluster> {
    const root = await temporaryFolder();
    for (const { name, files } of BASE_FOLDERS.filter((base) => models.includes(base.name))) {
      await mkdir(join(root.path, 'models', name), { recursive: true });
      for (const [file, bytes] of files) {
        await writeFile(join(root.path, 'models', name, file), bytes);
      }
    }
    const child = fork(new URL('./server-child.ts', import.meta.url), [root.path], {
      execArgv: ['--expose-gc'],
    });
    const { address } = await new Promise<{ address: string }>((resolve, reject) => {
      child.once('message', (message) => resolve(message as { address: string }));
      child.once('exit', (code) => reject(new Error(`the cluster ended with ${code} at start`)));
    });
    const cluster = new FuzzedCluster(child, address, {
      models: models.map((name) => ({ name, source: join(root.path, 'models', name) })),
      remove: root.remove,
    });
    await cluster.importModels();
    return cluster;
  }

  /** Gives the models their names again after a mutant that removed one. */
  async restore({ method }: RequestMutant, { status }: RawReply): Promise<void> {
    if (status === 0 && method === 'activation/RemoveModel') await this.importModels();
  }

  private async importModels(): Promise<void> {
    const { activation } = this.heddle;
    for (const { source, name } of this.models) await activation.ImportModel({ source, name });
  }

  rssBytes(): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.child.once('message', (message) => resolve((message as { rssBytes: number }).rssBytes));
    this.child.send('rss');
    return promise;
  }

  /** The values of a request that never changes. */
  async ordinaryRun(): Promise<readonly object[]> {
    return (await this.heddle.collectRun(ORDINARY_RUN)).tensors;
  }

  /**
   * A job that a mutant started gets a moment, and is cancelled then, so that a training of 2³² steps does not compete with the next
   * mutants. Returns the error it failed with, if it did.
   */
  async endStarted(
    { method }: RequestMutant,
    { status, messages }: RawReply,
  ): Promise<ErrorDetail | undefined> {
    if (status !== 0 || !/\/(?:Start|Rerun)/.test(method)) return undefined;
    const [first = new Uint8Array()] = messages;
    const response = METHODS.get(method)?.method.responseDeserialize(Buffer.from(first));
    const { job } = response as { job: { id: string } | null };
    if (!job) return undefined;
    const ended = await this.ended(job.id);
    return ended.error ?? undefined;
  }

  private async ended(id: string): Promise<Job> {
    try {
      return await this.heddle.waitForJob(id, { signal: AbortSignal.timeout(JOB_MS) });
    } catch {
      // Its time is over, or it failed.
    }
    await this.heddle.jobs.Cancel({ id }).catch(() => undefined);
    const { job } = await this.heddle.jobs.Get({ id });
    return present(job, 'the job');
  }

  async close(): Promise<void> {
    this.raw.close();
    this.heddle.close();
    if (this.died === undefined) {
      const exited = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.disconnect();
      await exited;
    }
    await this.remove();
  }
}
