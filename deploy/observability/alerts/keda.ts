import type { AlertGroup } from './alert.ts';

/** Requests of KEDA to NATS' monitoring without an answer, by the names of its other metrics. */
const UNANSWERED = `max by (namespace, scaledObject) (label_replace(
  increase(keda_scaler_http_requests_total{scaled_resource=~".+-workers", status_code!="200"}[5m]),
  "scaledObject", "$1", "scaled_resource", "(.+)")) > 0`;
const BESIDE_US = 'and on (namespace) group by (namespace) (heddle_build_info)';

/** Needs the metrics of KEDA's operator, whose ScaledObjects the chart calls RELEASE-SERVICE-workers. */
export const KEDA: AlertGroup = {
  name: 'heddle-keda',
  alerts: [
    {
      name: 'HeddleScalerMisled',
      severity: 'warning',
      expr: `max by (namespace, scaledObject) (increase(keda_scaled_object_errors_total{scaledObject=~".+-workers"}[5m])) > 0
unless on (namespace, scaledObject) ${UNANSWERED}
${BESIDE_US}`,
      for: '10m',
      summary:
        'KEDA does not find a queue of {{ $labels.scaledObject }} in {{ $labels.namespace }}',
      description:
        'NATS answers, and has no queue as a trigger of {{ $labels.scaledObject }} names it: {{ $value | humanize }} errors in 5 minutes. No worker comes for what waits on it, however long it waits.',
    },
    {
      name: 'HeddleScalerCutOff',
      severity: 'warning',
      expr: `${UNANSWERED}
${BESIDE_US}`,
      for: '10m',
      summary:
        'KEDA gets no answer of NATS for {{ $labels.scaledObject }} in {{ $labels.namespace }}',
      description:
        'KEDA asks NATS’ monitoring for the queues of {{ $labels.scaledObject }} and gets no answer, {{ $value | humanize }} times in 5 minutes. There are as many workers as there were, and may be none soon.',
    },
  ],
};
