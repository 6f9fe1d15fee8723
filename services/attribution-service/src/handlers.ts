import type { JobRuntime } from '@heddle/actor';
import type { Handlers } from '@heddle/ports';
import type { AttributionService } from '@heddle/ports/proto/attribution';
import { checkedWhy } from './why-request.ts';

/** The contract's side: questions checked in, jobs out. */
export function attributionHandlers(
  jobs: Pick<JobRuntime, 'submit'>,
): Handlers<AttributionService> {
  return {
    async StartWhy(request) {
      const key = request.client_key;
      const { id } = await jobs.submit('attribution.why', checkedWhy(request), { key });
      return { job: { id } };
    },
  };
}
