import { CODES } from '@heddle/core';
import type { MetricSpec } from '@heddle/ports';
import { CONTRACTS, methodsOf, SERVICES } from './contracts.ts';

/** Every method of every contract: the closed set that the label `method` takes. */
function methodLabels(): readonly string[] {
  return CONTRACTS.flatMap((contract) =>
    methodsOf(contract).map(([name]) => `${SERVICES[contract]}/${name}`),
  );
}

let labels: ReadonlySet<string> | undefined;

/** Whether calls of this path are counted: what a caller makes up is not. */
export function isMethodLabel(method: string): boolean {
  labels ??= new Set(methodLabels());
  return labels.has(method);
}

export function grpcMetrics(): readonly MetricSpec[] {
  const method = methodLabels();
  return [
    {
      name: 'grpc_calls_total',
      kind: 'counter',
      unit: 'calls',
      help: 'Calls answered, by the code that they ended with.',
      labels: { method, code: ['ok', ...CODES] },
    },
    {
      name: 'grpc_call_seconds',
      kind: 'histogram',
      unit: 'seconds',
      help: 'From the request to the last byte of the answer.',
      labels: { method },
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
    },
    {
      name: 'grpc_calls_open',
      kind: 'gauge',
      unit: 'calls',
      help: 'Calls being answered now.',
    },
  ];
}
