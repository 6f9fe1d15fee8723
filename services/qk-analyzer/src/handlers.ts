import type { Json } from '@heddle/core';
import type { Handlers } from '@heddle/ports';
import type { QkService } from '@heddle/ports/proto/qk';
import { checkedFit } from './fit-request.ts';

export interface HandlerDeps {
  readonly submit: (request: Json, key: string) => Promise<{ readonly id: string }>;
}

/**
 * The contract's side: fits checked in, jobs out. `StartScan` is not here and answers
 * UNIMPLEMENTED.
 */
export function qkHandlers({ submit }: HandlerDeps): Handlers<QkService> {
  return {
    async StartFit(request) {
      const job = await submit(checkedFit(request), request.client_key);
      return { job: { id: job.id } };
    },
  };
}
