import { type AlertCases, grows, LORSA, still, WORKER } from './alert-cases.ts';

const GPU = 'Hostname="node-1", gpu="0", UUID="GPU-1"';
const CARD = { Hostname: 'node-1', gpu: '0' };
const POD = 'namespace="h", pod="lorsa-workers-0", uid="u", container="heddle"';
const HPA = 'namespace="h", horizontalpodautoscaler="keda-hpa-f-lorsa-workers"';
const waiting = `jobs_queue_messages{${LORSA}, kind="lorsa.train", state="waiting"}`;
const hpa = (desired: number) => ({
  [`kube_horizontalpodautoscaler_status_desired_replicas{${HPA}}`]: still(desired),
  [`kube_horizontalpodautoscaler_spec_max_replicas{${HPA}}`]: still(4),
});
const pending =
  'kube_pod_status_phase{namespace="h", pod="lorsa-workers-0", uid="u", phase="Pending"}';
const killed = `kube_pod_container_status_last_terminated_reason{${POD}, reason="OOMKilled"}`;
const memory = (used: number) => ({
  [`process_resident_memory_bytes{${WORKER}}`]: still(used),
  [`kube_pod_container_resource_limits{${POD}, resource="memory", unit="byte", node="n"}`]:
    still(100),
});
const progressing = (status: string) =>
  `kube_deployment_status_condition{namespace="h", deployment="f-lorsa", condition="Progressing", status="${status}", reason="r"}`;
const build = { [`heddle_build_info{${LORSA}, version="1"}`]: still(1) };
const scaler = (errors: string, unanswered: string) => ({
  ...build,
  'keda_scaled_object_errors_total{namespace="h", scaledObject="f-lorsa-workers"}': errors,
  'keda_scaler_http_requests_total{namespace="h", scaled_resource="f-lorsa-workers", metric_name="q", status_code="200"}':
    grows(2),
  'keda_scaler_http_requests_total{namespace="h", scaled_resource="f-lorsa-workers", metric_name="q", status_code="error"}':
    unanswered,
});
const SCALER = { namespace: 'h', scaledObject: 'f-lorsa-workers' };
const busy = {
  [`jobs_worker_slots_busy{${WORKER}, kind="lorsa.train"}`]: still(1),
  [`engine_provider_info{${WORKER}, provider="cuda"}`]: still(1),
};

export const OUTSIDE_CASES: Readonly<Record<string, AlertCases>> = {
  HeddleWorkersAtMaximum: {
    fires: {
      series: { ...hpa(4), [waiting]: still(3) },
      at: '40m',
      fires: { namespace: 'h', horizontalpodautoscaler: 'keda-hpa-f-lorsa-workers' },
    },
    silent: { series: { ...hpa(4), [waiting]: still(0) }, at: '40m' },
  },
  HeddlePodPending: {
    fires: {
      // No node has it yet.
      series: {
        [pending]: still(1),
        [`kube_pod_container_resource_requests{${POD}, resource="cpu", unit="core", node=""}`]:
          still(1),
      },
      at: '20m',
      fires: { namespace: 'h', pod: 'lorsa-workers-0' },
    },
    // Somebody else's pod of the same namespace.
    silent: { series: { [pending]: still(1) }, at: '20m' },
  },
  HeddleOutOfMemory: {
    fires: {
      series: {
        [killed]: '0+0x60 1+0x60',
        [`kube_pod_container_status_restarts_total{${POD}}`]: '0+0x60 1+0x60',
      },
      at: '65m',
      fires: { namespace: 'h', pod: 'lorsa-workers-0' },
    },
    silent: {
      // The reason stands for the rest of the pod's life.
      series: {
        [killed]: still(1),
        [`kube_pod_container_status_restarts_total{${POD}}`]: still(1),
      },
      at: '65m',
    },
  },
  HeddleMemoryNearLimit: {
    fires: { series: memory(95), at: '15m', fires: { namespace: 'h', pod: 'lorsa-workers-0' } },
    silent: { series: memory(60), at: '15m' },
  },
  HeddleRolloutStuck: {
    fires: {
      series: {
        [progressing('false')]: still(1),
        [`heddle_build_info{${LORSA}, version="1"}`]: still(1),
      },
      at: '5m',
      fires: { namespace: 'h', deployment: 'f-lorsa' },
    },
    silent: {
      series: {
        [progressing('true')]: still(1),
        [`heddle_build_info{${LORSA}, version="1"}`]: still(1),
      },
      at: '5m',
    },
  },
  HeddleScalerMisled: {
    // With one request that was lost.
    fires: { series: scaler(grows(2), '0+0x78 1+0x60'), at: '80m', fires: SCALER },
    // NATS away is another alert.
    silent: { series: scaler(grows(2), grows(2)), at: '80m' },
  },
  HeddleScalerCutOff: {
    fires: { series: scaler(grows(1), grows(2)), at: '80m', fires: SCALER },
    // A NATS server that was started again.
    silent: { series: scaler('0+0x60 3+0x60', '0+0x60 4+0x60'), at: '68m' },
  },
  HeddleGpuError: {
    fires: {
      series: { [`DCGM_FI_DEV_XID_ERRORS{${GPU}}`]: '0+0x60 79+0x60' },
      at: '65m',
      fires: CARD,
    },
    silent: { series: { [`DCGM_FI_DEV_XID_ERRORS{${GPU}}`]: still(31) }, at: '65m' },
  },
  HeddleGpuHot: {
    fires: { series: { [`DCGM_FI_DEV_GPU_TEMP{${GPU}}`]: still(91) }, at: '15m', fires: CARD },
    silent: { series: { [`DCGM_FI_DEV_GPU_TEMP{${GPU}}`]: '91+0x3 70+0x60' }, at: '15m' },
  },
  HeddleGpuMemoryFull: {
    fires: {
      series: {
        [`DCGM_FI_DEV_FB_USED{${GPU}}`]: still(98),
        [`DCGM_FI_DEV_FB_FREE{${GPU}}`]: still(2),
      },
      at: '15m',
      fires: CARD,
    },
    silent: {
      series: {
        [`DCGM_FI_DEV_FB_USED{${GPU}}`]: still(50),
        [`DCGM_FI_DEV_FB_FREE{${GPU}}`]: still(50),
      },
      at: '15m',
    },
  },
  HeddleGpuIdle: {
    fires: {
      series: { [`DCGM_FI_DEV_GPU_UTIL{${GPU}}`]: still(0), ...busy },
      at: '70m',
      fires: CARD,
    },
    silent: {
      series: {
        [`DCGM_FI_DEV_GPU_UTIL{${GPU}}`]: still(80),
        ...busy,
        [`lorsa_trainer_steps_total{${WORKER}}`]: grows(1),
      },
      at: '70m',
    },
  },
};
