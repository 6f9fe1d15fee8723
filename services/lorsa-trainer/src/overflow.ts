import { OperationError } from '@heddle/core';
import type { StateTensors, StepReport } from '@heddle/interp/lorsa';
import type { Standing, Training } from './training.ts';

type Of = Pick<Training, 'job' | 'backend'>;

/** Errors: `failed_precondition` naming the step, what is not finite, and the last good checkpoint. */
export function requireFiniteSteps(
  training: Of,
  { state, saved }: Standing,
  reports: readonly StepReport[],
): void {
  reports.forEach(({ loss, gradientNorm }, index) => {
    const step = state.step + index + 1;
    if (!Number.isFinite(loss))
      throw overflow(training, { step, saved, tensor: 'loss', value: loss });
    if (!Number.isFinite(gradientNorm)) {
      throw overflow(training, { step, saved, tensor: 'gradient_norm', value: gradientNorm });
    }
  });
}

/** The parameters and moments as they stand, all finite. Errors: as `requireFiniteSteps`, naming the parameter. */
export function requireFiniteTensors(training: Of, { state, saved }: Standing): StateTensors {
  const tensors = training.backend.tensors();
  for (const [name, { data }] of Object.entries(tensors)) {
    for (const value of data) {
      if (Number.isFinite(value)) continue;
      throw overflow(training, { step: state.step, saved, tensor: name, value });
    }
  }
  return tensors;
}

interface Overflow {
  readonly step: number;
  /** Step of the last checkpoint. */
  readonly saved: number;
  readonly tensor: string;
  readonly value: number;
}

function overflow({ job }: Of, { step, saved, tensor, value }: Overflow): OperationError {
  return new OperationError({
    code: 'failed_precondition',
    message: `${tensor} is ${value} at step ${step}: train again with a lower learning rate or a clip norm. The last good checkpoint is that of step ${saved}: job ${job} is read as it was then (heddle lorsa eval ${job})`,
    field: 'optimiser.learning_rate',
    retryable: false,
    details: { step, tensor, checkpoint_step: saved, job },
  });
}
