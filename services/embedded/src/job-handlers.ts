import { type JobRuntime, type JobView, provenanceMessage } from '@heddle/actor';
import { invalidArgument, notFound } from '@heddle/core';
import {
  type Blobs,
  decodeOutcome,
  type Handlers,
  type JobArtifact,
  type JobOutcome,
} from '@heddle/ports';
import type { JobsService } from '@heddle/ports/proto/jobs';
import { artifactMessage, jobMessage, statusesOf } from './job-messages.ts';
import { JobWaits } from './job-waits.ts';

const LIST_DEFAULT = 100;
const LIST_MAX = 1000;
const KINDS_MAX = 32;

/** `heddle.jobs.v1` over the job runtime: proto in, message out. */
export function jobHandlers(
  jobs: JobRuntime,
  blobs: Blobs,
  waits = new JobWaits(),
): Handlers<JobsService> {
  const find = (id: string) => jobs.find(id);
  const message = (view: JobView) => jobMessage(view, waits.current);
  const answer = async (view: Promise<JobView>) => ({ job: message(await view) });
  const outcomeOf = async (id: string): Promise<JobOutcome> => {
    const { digest } = await jobs.result(id);
    return decodeOutcome(await blobs.read(digest));
  };
  return {
    Get: ({ id }) => answer(find(id)),
    Cancel: async ({ id }) => answer(jobs.cancel((await find(id)).id)),
    Pause: async ({ id }) => answer(jobs.pause((await find(id)).id)),
    Resume: async ({ id }) => answer(jobs.resume((await find(id)).id)),
    Pin: async ({ id, pinned }) => {
      const view = await find(id);
      return answer(pinned ? jobs.pin(view.id) : jobs.unpin(view.id));
    },

    async List({ limit, after, kinds, states, tenant }) {
      if (limit > LIST_MAX) {
        throw invalidArgument(`limit is ${limit}; at most ${LIST_MAX} jobs are listed at once`, {
          field: 'limit',
          details: { limit: LIST_MAX },
        });
      }
      if (kinds.length > KINDS_MAX) {
        throw invalidArgument(`${kinds.length} kinds; at most ${KINDS_MAX} can be asked for`, {
          field: 'kinds',
          details: { limit: KINDS_MAX },
        });
      }
      const page = await jobs.list({
        limit: limit === 0 ? LIST_DEFAULT : limit,
        kinds,
        tenant,
        ...(after === '' ? {} : { before: after }),
        ...(states.length === 0 ? {} : { statuses: statusesOf(states) }),
      });
      return { jobs: page.jobs.map(message), more: page.next !== undefined };
    },

    async *Watch({ id }, { signal }) {
      const { id: full } = await find(id);
      const watch = (until: AbortSignal) => jobs.watch(full, until);
      for await (const view of waits.told(watch, signal)) yield { job: message(view) };
    },

    async Result({ id }) {
      const view = await find(id);
      const { summary, artifacts } = await outcomeOf(view.id);
      return {
        job: message(view),
        summary_json: JSON.stringify(summary),
        artifacts: artifacts.map(artifactMessage),
        provenance: provenanceMessage(view),
      };
    },

    async *ReadArtifact({ id, name }) {
      const { id: full } = await find(id);
      const { artifacts } = await outcomeOf(full);
      const artifact =
        artifacts.find((a) => a.name === name) ??
        (await referenceOf(jobs, blobs, { id: full, name }));
      if (artifact === undefined) {
        const names = artifacts.map((a) => a.name).join(', ') || 'none';
        throw notFound(`job ${id} made no ${name}; it made: ${names}`, { field: 'name' });
      }
      yield { artifact: artifactMessage(artifact) };
      for await (const data of blobs.get(artifact.digest)) yield { data };
    },

    async Rerun({ id, client_key }) {
      const { kind, request } = await find(id);
      return answer(jobs.submit(kind, request, { key: client_key }));
    },

    async CollectGarbage({ dry_run }) {
      const report = await jobs.gc({ dryRun: dry_run });
      return {
        freed: [
          { kind: 'blobs', count: report.blobs.count, bytes: report.blobs.bytes },
          { kind: 'journals', count: report.jobs.length, bytes: report.journalBytes },
        ],
      };
    },
  };
}

/** A blob that a result names by its digest, as an artifact: shards are too many to be listed. */
async function referenceOf(
  jobs: JobRuntime,
  blobs: Blobs,
  { id, name }: { readonly id: string; readonly name: string },
): Promise<JobArtifact | undefined> {
  const digest = (await jobs.result(id)).references.find((each) => each === name);
  const kept = digest && (await blobs.stat(digest));
  return kept && { name, digest, bytes: kept.bytes, mediaType: 'application/octet-stream' };
}
