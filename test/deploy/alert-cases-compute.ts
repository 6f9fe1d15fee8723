import { type AlertCases, grows, LORSA, of, still, WORKER } from './alert-cases.ts';

const SERVICE = { namespace: 'h', service: 'lorsa' };
const calls = (code: string): string =>
  `grpc_calls_total{${LORSA}, method="heddle.lorsa.v1.Lorsa/StartTrain", code="${code}"}`;
const runs = (outcome: string): string =>
  `engine_runs_total{${WORKER}, provider="cuda", outcome="${outcome}"}`;
const activation = of('activation');

export const COMPUTE_CASES: Readonly<Record<string, AlertCases>> = {
  HeddleCallsFail: {
    fires: {
      series: { [calls('ok')]: grows(60), [calls('internal')]: grows(6) },
      at: '80m',
      fires: SERVICE,
    },
    silent: {
      // What callers do wrong is theirs.
      series: {
        [calls('ok')]: grows(60),
        [calls('internal')]: grows(1),
        [calls('invalid_argument')]: grows(60),
      },
      at: '80m',
    },
  },
  HeddleCallsUnavailable: {
    fires: {
      series: { [calls('ok')]: grows(60), [calls('unavailable')]: grows(20) },
      at: '80m',
      fires: SERVICE,
    },
    silent: { series: { [calls('ok')]: grows(60), [calls('unavailable')]: grows(3) }, at: '80m' },
  },
  HeddleOverloaded: {
    fires: {
      series: { [calls('ok')]: grows(60), [calls('resource_exhausted')]: grows(20) },
      at: '80m',
      fires: SERVICE,
    },
    silent: {
      // Two refusals of three calls an hour are no load.
      series: { [calls('ok')]: '0+0x60 1+0x60', [calls('resource_exhausted')]: '0+0x60 2+0x60' },
      at: '63m',
    },
  },
  HeddleCallersRefused: {
    fires: { series: { [calls('unauthenticated')]: grows(120) }, at: '80m', fires: SERVICE },
    silent: { series: { [calls('unauthenticated')]: grows(10) }, at: '80m' },
  },
  HeddleEngineDied: {
    fires: {
      series: { [runs('died')]: '0+0x60 1+0x60' },
      at: '65m',
      fires: { ...SERVICE, instance: 'lorsa-workers-0' },
    },
    silent: { series: { [runs('cancelled')]: grows(5), [runs('failed')]: grows(5) }, at: '65m' },
  },
  HeddleProviderRefused: {
    fires: {
      series: { [`engine_provider_refused{${WORKER}, provider="cuda"}`]: still(1) },
      at: '10m',
      fires: {
        ...SERVICE,
        ...{ role: 'workers', instance: 'lorsa-workers-0', job: 'heddle', provider: 'cuda' },
      },
    },
    silent: {
      series: { [`engine_provider_info{${WORKER}, provider="cuda"}`]: still(1) },
      at: '10m',
    },
  },
  HeddleEngineRefuses: {
    fires: {
      series: { [runs('refused')]: '0+0x60 1+0x60' },
      at: '65m',
      fires: { ...SERVICE, instance: 'lorsa-workers-0' },
    },
    silent: { series: { [runs('ok')]: grows(9) }, at: '65m' },
  },
  HeddleSessionsThrash: {
    fires: {
      series: {
        [`activation_session_evictions_total{${activation}}`]: grows(60),
        [`activation_session_lookups_total{${activation}, result="miss"}`]: grows(60),
        [`activation_session_lookups_total{${activation}, result="hit"}`]: grows(6),
      },
      at: '120m',
      fires: { namespace: 'h', instance: 'activation-0' },
    },
    silent: {
      series: {
        [`activation_session_evictions_total{${activation}}`]: grows(60),
        [`activation_session_lookups_total{${activation}, result="miss"}`]: grows(60),
        [`activation_session_lookups_total{${activation}, result="hit"}`]: grows(600),
      },
      at: '120m',
    },
  },
  HeddleTrainingStandsStill: {
    fires: {
      series: {
        [`jobs_worker_slots_busy{${WORKER}, kind="lorsa.train"}`]: still(1),
        [`lorsa_trainer_steps_total{${WORKER}}`]: still(100),
      },
      at: '70m',
      fires: { namespace: 'h' },
    },
    silent: {
      series: {
        [`jobs_worker_slots_busy{${WORKER}, kind="lorsa.train"}`]: still(1),
        [`lorsa_trainer_steps_total{${WORKER}}`]: '100+1x180',
      },
      at: '70m',
    },
  },
  HeddleSumsDoNotHold: {
    fires: {
      series: {
        [`attribution_service_sums_total{${of('attribution')}, outcome="fails"}`]: '0+0x60 1+0x60',
      },
      at: '65m',
      fires: { namespace: 'h' },
    },
    silent: {
      series: {
        [`attribution_service_sums_total{${of('attribution')}, outcome="holds"}`]: grows(9),
      },
      at: '65m',
    },
  },
};
