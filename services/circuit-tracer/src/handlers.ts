import type { Json } from '@heddle/core';
import type { Handlers } from '@heddle/ports';
import type { CircuitService } from '@heddle/ports/proto/circuit';
import { checkedTrace } from './trace-request.ts';

export interface HandlerDeps {
  readonly submit: (request: Json, key: string) => Promise<{ readonly id: string }>;
}

/** The contract's side: traces checked in, jobs out. */
export function circuitHandlers({ submit }: HandlerDeps): Handlers<CircuitService> {
  return {
    async StartTrace(request) {
      const job = await submit(checkedTrace(request), request.client_key);
      return { job: { id: job.id } };
    },
  };
}
