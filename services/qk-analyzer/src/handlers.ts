import type { JobRuntime } from '@heddle/actor';
import type { Handlers } from '@heddle/ports';
import type { QkService } from '@heddle/ports/proto/qk';
import { checkedFit } from './fit-request.ts';

/**
 * The contract's side: fits checked in, jobs out. `StartScan` is not here and answers
 * UNIMPLEMENTED.
 */
export function qkHandlers(jobs: Pick<JobRuntime, 'submit'>): Handlers<QkService> {
  return {
    async StartFit(request) {
      const key = request.client_key;
      const { id } = await jobs.submit('qk.fit', checkedFit(request), { key });
      return { job: { id } };
    },
  };
}
