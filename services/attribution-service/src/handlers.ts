import type { Json } from '@heddle/core';
import type { Handlers } from '@heddle/ports';
import type { AttributionService } from '@heddle/ports/proto/attribution';
import { checkedWhy } from './why-request.ts';

export interface HandlerDeps {
  readonly submit: (request: Json, key: string) => Promise<{ readonly id: string }>;
}

/** The contract's side: questions checked in, jobs out. */
export function attributionHandlers({ submit }: HandlerDeps): Handlers<AttributionService> {
  return {
    async StartWhy(request) {
      const job = await submit(checkedWhy(request), request.client_key);
      return { job: { id: job.id } };
    },
  };
}
