import { type JobView, REQUEST_CHARACTERS_MAX, type ViewStatus } from '@heddle/actor';
import { toDetail } from '@heddle/adapters/grpc';
import { OperationError } from '@heddle/core';
import type { Init, JobArtifact } from '@heddle/ports';
import type { Artifact, Job, JobState } from '@heddle/ports/proto/common';

const STATES: Readonly<Record<ViewStatus, JobState>> = {
  queued: 'JOB_STATE_QUEUED',
  running: 'JOB_STATE_RUNNING',
  paused: 'JOB_STATE_PAUSED',
  completed: 'JOB_STATE_SUCCEEDED',
  failed: 'JOB_STATE_FAILED',
  cancelled: 'JOB_STATE_CANCELLED',
};

/** The statuses that a filter of states means. */
export function statusesOf(states: readonly JobState[]): readonly ViewStatus[] {
  const all = Object.keys(STATES) as ViewStatus[];
  return all.filter((status) => states.includes(STATES[status]));
}

/** `waits`: what keeps unfinished jobs from going on. */
export function jobMessage(view: JobView, waits = ''): Init<Job> {
  const { progress, error } = view;
  const request = JSON.stringify(view.request);
  return {
    id: view.id,
    kind: view.kind,
    state: STATES[view.status],
    progress:
      progress === undefined
        ? null
        : {
            done: progress.done,
            total: progress.total,
            unit: progress.unit,
            message: progressLine(progress),
            figures: Object.entries(progress.figures ?? {}).map(([name, value]) => ({
              name,
              value,
            })),
          },
    created_ms: view.createdMs,
    updated_ms: view.updatedMs,
    ended_ms: view.finishedMs,
    error: error === undefined ? null : toDetail(new OperationError(error), error.message),
    client_key: view.key,
    request_json: request.slice(0, REQUEST_CHARACTERS_MAX),
    request_truncated: request.length > REQUEST_CHARACTERS_MAX,
    retries: view.setbacks,
    pinned: view.pinned,
    sequence: view.sequence,
    tenant: view.tenant,
    checkpoints_lost: view.checkpointsLost,
    waits_for: view.status === 'queued' || view.status === 'running' ? waits : '',
  };
}

type Progress = NonNullable<JobView['progress']>;

function progressLine({ message, figures = {} }: Progress): string {
  const numbers = Object.entries(figures).map(([name, x]) => `${name} ${x.toPrecision(4)}`);
  return message ?? numbers.join(', '); // a job's own words say what matters; the figures would say it twice
}

export function artifactMessage({ name, digest, bytes, mediaType }: JobArtifact): Init<Artifact> {
  return { name, digest, bytes, media_type: mediaType };
}
