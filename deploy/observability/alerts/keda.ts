import type { AlertGroup } from './alert.ts';

/**
 * Looks of KEDA that failed. Its metric for each queue (`keda_scaler_detail_errors_total`) stands still while there are no
 * workers: 2.21 counts there only what an autoscaler asked for.
 */
const FAILED =
  'max by (namespace, scaledObject) (increase(keda_scaled_object_errors_total{scaledObject=~".+-workers"}[5m]))';
/** Requests to NATS' monitoring that got no answer, by the names of the former. */
const UNANSWERED = `sum by (namespace, scaledObject) (label_replace(
  increase(keda_scaler_http_requests_total{scaled_resource=~".+-workers", status_code!="200"}[5m]),
  "scaledObject", "$1", "scaled_resource", "(.+)"))`;
/** Without an answer each look fails; a lost request now and then is no reason for the rest. */
const IS_CUT_OFF = `2 * ${UNANSWERED}
>= on (namespace, scaledObject) ${FAILED}`;
const BESIDE_US = 'and on (namespace) group by (namespace) (heddle_build_info)';

/** Needs the metrics of KEDA's operator, whose ScaledObjects the chart calls RELEASE-SERVICE-workers. */
export const KEDA: AlertGroup = {
  name: 'heddle-keda',
  alerts: [
    {
      name: 'HeddleScalerMisled',
      severity: 'warning',
      expr: `${FAILED} > 0
unless on (namespace, scaledObject) (${IS_CUT_OFF})
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
      expr: `${UNANSWERED} > 0
and on (namespace, scaledObject) (${IS_CUT_OFF})
${BESIDE_US}`,
      for: '10m',
      summary:
        'KEDA gets no answer of NATS for {{ $labels.scaledObject }} in {{ $labels.namespace }}',
      description:
        'KEDA asks NATS’ monitoring for the queues of {{ $labels.scaledObject }} and gets no answer, {{ $value | humanize }} times in 5 minutes. There are as many workers as there were, and may be none soon.',
    },
  ],
};
