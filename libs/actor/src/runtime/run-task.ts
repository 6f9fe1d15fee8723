import { canonicalJson, present } from '@heddle/core';
import type { JobState } from '../job/state.ts';
import type { JobKind, TaskContext, TaskOutput, TaskResult } from './job-kind.ts';

/** A task of a job that was granted to us, as the journal has it. */
export interface Reduction {
  readonly state: JobState;
  readonly task: number;
}

/** Runs a piece of the job, or its reduction. */
export function runTask(
  kind: JobKind,
  { state, task }: Reduction,
  context: TaskContext,
): Promise<TaskOutput> {
  const count = state.reduce ? state.tasks.length - 1 : state.tasks.length;
  const { id: job, request } = state;
  if (task < count) {
    const { input } = present(state.tasks[task], `task ${task}`);
    return kind.run({ job, index: task, count, request, input }, context);
  }
  const results = state.tasks.slice(0, count).map((piece, index): TaskResult => {
    const { blob, bytes, provenance } = present(piece.output, `output of task ${index}`);
    return { index, blob, bytes, provenance };
  });
  if (kind.reduce === undefined) return Promise.resolve(listing(results, state));
  return kind.reduce({ job, index: task, count, request, input: null }, results, context);
}

/** The result of a job that only splits: which task left what. */
function listing(results: readonly TaskResult[], state: JobState): TaskOutput {
  const tasks = results.map(({ index, blob, bytes }) => ({ index, blob, bytes }));
  const references = state.tasks.flatMap(({ output }) =>
    output === undefined ? [] : [output.blob, ...output.references],
  );
  return {
    bytes: new TextEncoder().encode(canonicalJson({ tasks })),
    references,
    provenance: results[0]?.provenance ?? {},
  };
}
