import type { JobRuntime, JobView } from '@heddle/actor';
import { dataLoss, invalidArgument, notFound } from '@heddle/core';
import { type BlobDigest, type Blobs, decodeOutcome } from '@heddle/ports';
import type { OpenCheckpoint } from '../checkpoint-files.ts';
import { AnalysisFile } from './analysis-file.ts';
import type { AnalysisRequest } from './analysis-request.ts';
import { ByteCache } from './byte-cache.ts';
import { ANALYSES_CACHE_BYTES_MAX, ANALYSES_MAX } from './limits.ts';

export const ANALYSIS_KIND = 'lorsa.analyse';
export const HEADS_FILE = 'heads.safetensors';

/** An analysis that has finished. */
export interface FinishedAnalysis {
  readonly job: JobView;
  readonly request: AnalysisRequest;
}

export interface AnalysisSources {
  readonly jobs: Pick<JobRuntime, 'list' | 'get'>;
  readonly blobs: Pick<Blobs, 'read'>;
  /** Errors: those of `openCheckpoint`. */
  readonly checkpoint: (name: string) => Promise<OpenCheckpoint>;
}

/** Analyses as the job runtime knows them: what `gc` took is gone. */
export class FinishedAnalyses {
  private readonly sources: AnalysisSources;
  private readonly files = new ByteCache<AnalysisFile>(ANALYSES_CACHE_BYTES_MAX);

  constructor(sources: AnalysisSources) {
    this.sources = sources;
  }

  /** Newest first. */
  async all(): Promise<readonly FinishedAnalysis[]> {
    return (await this.listed(['completed'])).filter(({ job }) => job.result !== undefined);
  }

  /** One that asks the same and is finished or on its way. */
  async like(same: (request: JobView['request']) => boolean): Promise<JobView | undefined> {
    const there = await this.listed(['completed', 'running', 'queued', 'paused']);
    return there.find(({ job }) => same(job.request))?.job;
  }

  /** The newest of each checkpoint, in the order of finishing. */
  async latest(): Promise<readonly FinishedAnalysis[]> {
    const seen = new Set<string>();
    return (await this.all()).filter(({ request: { checkpoint_digest: digest } }) => {
      const isNew = !seen.has(digest);
      seen.add(digest);
      return isNew;
    });
  }

  /**
   * The newest of this checkpoint, or the one that is named. Errors: `not_found` naming StartAnalysis; `invalid_argument`
   * for an analysis of another checkpoint.
   */
  async of(checkpoint: string, analysis = ''): Promise<FinishedAnalysis> {
    const { digest } = await this.sources.checkpoint(checkpoint);
    const all = await this.all();
    const ours = ({ request }: FinishedAnalysis) => request.checkpoint_digest === digest;
    if (analysis === '') {
      const found = all.find(ours);
      if (found) return found;
      throw notFound(
        `nobody has looked at ${checkpoint} yet: StartAnalysis does (heddle lorsa analyse ${checkpoint})`,
        { field: 'checkpoint', details: { missing: 'analysis', checkpoint } },
      );
    }
    const named = all.find(({ job }) => job.id === analysis);
    if (!named) {
      const { kind, status } = await this.sources.jobs.get(analysis);
      throw notFound(`job ${analysis} is no finished analysis (${kind}, ${status})`, {
        field: 'analysis',
      });
    }
    if (ours(named)) return named;
    throw invalidArgument(`analysis ${analysis} looked at ${named.request.checkpoint}`, {
      field: 'analysis',
    });
  }

  /** What it found. Errors: `data_loss`, `not_found` where `gc` came in between. */
  async open({ job }: FinishedAnalysis): Promise<AnalysisFile> {
    const { result } = job;
    if (!result) throw dataLoss(`the analysis ${job.id} has no result`);
    return this.files.get(result.digest, async () => {
      const { artifacts } = decodeOutcome(await this.sources.blobs.read(result.digest));
      const file = artifacts.find(({ name }) => name === HEADS_FILE);
      if (!file) throw dataLoss(`the analysis ${job.id} has no ${HEADS_FILE}`);
      return new AnalysisFile(await this.sources.blobs.read(file.digest as BlobDigest));
    });
  }

  private async listed(statuses: readonly JobView['status'][]): Promise<FinishedAnalysis[]> {
    const found: FinishedAnalysis[] = [];
    let before: string | undefined;
    do {
      const page = await this.sources.jobs.list({
        kind: ANALYSIS_KIND,
        statuses,
        ...(before === undefined ? {} : { before }),
      });
      for (const job of page.jobs) {
        found.push({ job, request: job.request as unknown as AnalysisRequest });
      }
      before = page.next;
    } while (before !== undefined && found.length < ANALYSES_MAX);
    return found.slice(0, ANALYSES_MAX);
  }
}
