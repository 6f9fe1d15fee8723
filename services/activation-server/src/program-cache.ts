import { buildSegment, type Segment, type SegmentRequest } from '@heddle/models';
import type { LoadedModel, ModelStore, Program } from '@heddle/ports';
import { PROGRAMS_MAX } from './limits.ts';

interface PlanStep {
  readonly segment: Segment;
  readonly request: SegmentRequest;
  readonly key: string;
}

/** Encoded graphs by model and structure, the least recently used dropped first: a structure is built once. */
export class ProgramCache {
  private readonly store: Pick<ModelStore, 'program'>;
  private readonly programs = new Map<string, Program>();

  constructor(store: Pick<ModelStore, 'program'>) {
    this.store = store;
  }

  program(model: LoadedModel, step: PlanStep): Program {
    const key = `${model.digest} ${step.key}`;
    const known = this.programs.get(key);
    this.programs.delete(key);
    const program =
      known ?? this.store.program(model, buildSegment(model, step.segment, step.request));
    this.programs.set(key, program);
    for (const oldest of this.programs.keys()) {
      if (this.programs.size <= PROGRAMS_MAX) break;
      this.programs.delete(oldest);
    }
    return program;
  }
}
