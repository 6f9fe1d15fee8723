import type { JobRuntime } from '@heddle/actor';
import type { Handlers } from '@heddle/ports';
import type { CircuitService } from '@heddle/ports/proto/circuit';
import { checkedTrace } from './trace-request.ts';

/** The contract's side: traces checked in, jobs out. */
export function circuitHandlers(jobs: Pick<JobRuntime, 'submit'>): Handlers<CircuitService> {
  return {
    async StartTrace(request) {
      const key = request.client_key;
      const { id } = await jobs.submit('circuit.trace', checkedTrace(request), { key });
      return { job: { id } };
    },
  };
}
