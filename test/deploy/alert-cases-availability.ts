import { type AlertCases, grows, LORSA, of, still } from './alert-cases.ts';

const HERE = { namespace: 'h', service: 'lorsa' };
const INSTANCE = { ...HERE, role: 'service', instance: 'lorsa-0', job: 'heddle' };
const SECOND = of('lorsa', 'lorsa-1');
const expiry = `heddle_certificate_expiry_seconds{${LORSA}}`;

export const AVAILABILITY_CASES: Readonly<Record<string, AlertCases>> = {
  HeddleServiceDown: {
    // Its target vanishes, as that of a deleted pod does.
    fires: { series: { [`up{${LORSA}}`]: '1+0x30 _x30' }, at: '40m', fires: HERE },
    silent: {
      series: { [`up{${LORSA}}`]: '1+0x30 0+0x30', [`up{${SECOND}}`]: still(1) },
      at: '40m',
    },
  },
  HeddleServiceNotReady: {
    fires: { series: { [`heddle_ready{${LORSA}}`]: still(0) }, at: '10m', fires: HERE },
    silent: {
      series: { [`heddle_ready{${LORSA}}`]: still(0), [`heddle_ready{${SECOND}}`]: still(1) },
      at: '10m',
    },
  },
  HeddleInstanceDown: {
    fires: { series: { [`up{${LORSA}}`]: still(0) }, at: '10m', fires: INSTANCE },
    silent: { series: { [`up{${LORSA}}`]: '0+0x3 1+0x60' }, at: '10m' },
  },
  HeddleInstanceNotReady: {
    fires: { series: { [`heddle_ready{${LORSA}}`]: still(0) }, at: '20m', fires: INSTANCE },
    silent: { series: { [`heddle_ready{${LORSA}}`]: '0+0x11 1+0x60' }, at: '20m' },
  },
  HeddleRestarts: {
    fires: {
      series: { [`process_start_time_seconds{${LORSA}}`]: '0+60x60' },
      at: '40m',
      fires: INSTANCE,
    },
    silent: {
      series: { [`process_start_time_seconds{${LORSA}}`]: '0+0x20 1200+0x40' },
      at: '40m',
    },
  },
  HeddleEventLoopBlocked: {
    fires: {
      series: { [`nodejs_eventloop_lag_p99_seconds{${LORSA}}`]: still(3) },
      at: '10m',
      fires: INSTANCE,
    },
    silent: {
      series: { [`nodejs_eventloop_lag_p99_seconds{${LORSA}}`]: '3+0x3 0.1+0x60' },
      at: '10m',
    },
  },
  HeddleVersionsDiffer: {
    fires: {
      series: {
        [`heddle_build_info{${LORSA}, version="1"}`]: still(1),
        [`heddle_build_info{${of('qk')}, version="2"}`]: still(1),
      },
      at: '70m',
      fires: { namespace: 'h' },
    },
    silent: {
      series: {
        [`heddle_build_info{${LORSA}, version="1"}`]: still(1),
        [`heddle_build_info{${of('qk')}, version="1"}`]: still(1),
      },
      at: '70m',
    },
  },
  HeddleTracesLost: {
    fires: {
      series: { [`heddle_spans_total{${LORSA}, outcome="lost"}`]: grows(10) },
      at: '80m',
      fires: { namespace: 'h', outcome: 'lost' },
    },
    silent: {
      // A receiver that was started again, beside many spans that were sent.
      series: {
        [`heddle_spans_total{${LORSA}, outcome="lost"}`]: '0+0x60 40+0x60',
        [`heddle_spans_total{${LORSA}, outcome="sent"}`]: grows(100),
      },
      at: '80m',
    },
  },
  HeddleCertificateEnding: {
    fires: { series: { [expiry]: still(80_000) }, at: '15m', fires: HERE },
    silent: { series: { [expiry]: still(200_000) }, at: '15m' },
  },
  HeddleCertificateEnded: {
    fires: { series: { [expiry]: still(1_000) }, at: '15m', fires: HERE },
    silent: { series: { [expiry]: still(80_000) }, at: '15m' },
  },
};
