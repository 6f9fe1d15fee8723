import { type AlertCases, grows, LORSA, of, still } from './alert-cases.ts';

const CLUSTER = { namespace: 'h' };
const INSTANCE = {
  ...{ namespace: 'h', service: 'lorsa', role: 'service' },
  ...{ instance: 'lorsa-0', job: 'heddle' },
};
const QK = of('qk');
const up = (target: string, store: string): string => `stores_up{${target}, store="${store}"}`;
const operations = (operation: string, outcome: string): string =>
  `stores_operations_total{${LORSA}, operation="${operation}", outcome="${outcome}"}`;
const bucket = (le: string): string =>
  `stores_operation_seconds_bucket{${LORSA}, operation="journal.append", le="${le}"}`;
const nats = (what: string): string => `nats_server_${what}{${LORSA}, server="0"}`;

export const STORE_CASES: Readonly<Record<string, AlertCases>> = {
  HeddleJournalAway: {
    fires: { series: { [up(LORSA, 'journal')]: still(0) }, at: '5m', fires: CLUSTER },
    silent: {
      // One process that is cut off is another alert.
      series: { [up(LORSA, 'journal')]: still(0), [up(QK, 'journal')]: still(1) },
      at: '5m',
    },
  },
  HeddleNatsDisconnected: {
    fires: { series: { [`nats_connected{${LORSA}}`]: still(0) }, at: '5m', fires: INSTANCE },
    silent: { series: { [`nats_connected{${LORSA}}`]: '1 0 1+0x60' }, at: '5m' },
  },
  HeddleNatsFlapping: {
    fires: {
      series: { [`nats_disconnects_total{${LORSA}}`]: grows(1) },
      at: '75m',
      fires: INSTANCE,
    },
    silent: { series: { [`nats_disconnects_total{${LORSA}}`]: '0+0x60 1+0x60' }, at: '75m' },
  },
  HeddleNatsServerDown: {
    fires: {
      series: { [nats('up')]: still(0) },
      at: '5m',
      fires: { ...CLUSTER, server: '0' },
    },
    silent: {
      series: { [nats('up')]: still(0), [`nats_server_up{${QK}, server="0"}`]: still(1) },
      at: '5m',
    },
  },
  HeddleNatsStorageFilling: {
    fires: {
      series: { [nats('storage_bytes')]: still(90), [nats('storage_limit_bytes')]: still(100) },
      at: '15m',
      fires: { ...CLUSTER, server: '0' },
    },
    silent: {
      series: { [nats('storage_bytes')]: still(50), [nats('storage_limit_bytes')]: still(100) },
      at: '15m',
    },
  },
  HeddleNatsNotSyncing: {
    fires: {
      series: { [`nats_sync_always{${LORSA}}`]: still(0) },
      at: '20m',
      fires: CLUSTER,
    },
    silent: { series: { [`nats_sync_always{${LORSA}}`]: still(1) }, at: '20m' },
  },
  HeddleJournalFewCopies: {
    fires: {
      series: { [`nats_journal_replicas{${LORSA}}`]: still(1) },
      at: '20m',
      fires: CLUSTER,
    },
    silent: { series: { [`nats_journal_replicas{${LORSA}}`]: still(3) }, at: '20m' },
  },
  HeddleJournalFilling: {
    fires: {
      series: {
        [`stores_journal_bytes{${LORSA}}`]: still(90),
        [`stores_journal_limit_bytes{${LORSA}}`]: still(100),
      },
      at: '15m',
      fires: CLUSTER,
    },
    silent: {
      series: {
        [`stores_journal_bytes{${LORSA}}`]: still(79),
        [`stores_journal_limit_bytes{${LORSA}}`]: still(100),
      },
      at: '15m',
    },
  },
  HeddleAppendsRefused: {
    fires: {
      series: { [operations('journal.append', 'resource_exhausted')]: grows(1) },
      at: '62m',
      fires: { ...CLUSTER, operation: 'journal.append' },
    },
    silent: {
      // Many lost races are no lack of room, and a blob without room has an alert of its own.
      series: {
        [operations('journal.append', 'resource_exhausted')]: still(5),
        [operations('journal.append', 'aborted')]: grows(9),
        [operations('blobs.put', 'resource_exhausted')]: grows(9),
      },
      at: '62m',
    },
  },
  HeddleJournalSlow: {
    fires: {
      series: { [bucket('1')]: grows(50), [bucket('5')]: grows(100), [bucket('+Inf')]: grows(100) },
      at: '80m',
      fires: { ...CLUSTER, operation: 'journal.append' },
    },
    silent: {
      series: {
        [bucket('0.01')]: grows(100),
        [bucket('1')]: grows(100),
        [bucket('+Inf')]: grows(100),
      },
      at: '80m',
    },
  },
  HeddleStoreErrors: {
    fires: {
      series: {
        [operations('blobs.read', 'ok')]: grows(90),
        [operations('blobs.read', 'unavailable')]: grows(10),
      },
      at: '80m',
      fires: { ...CLUSTER, operation: 'blobs.read' },
    },
    silent: {
      series: {
        [operations('blobs.read', 'ok')]: grows(90),
        [operations('blobs.read', 'not_found')]: grows(50),
        [operations('blobs.read', 'unavailable')]: grows(1),
      },
      at: '80m',
    },
  },
  HeddleBlobsAway: {
    fires: {
      series: { [up(LORSA, 'blobs')]: still(0), [up(QK, 'blobs')]: still(1) },
      at: '5m',
      fires: CLUSTER,
    },
    silent: {
      series: { [up(LORSA, 'blobs')]: '1 0 1+0x60', [up(QK, 'journal')]: still(0) },
      at: '5m',
    },
  },
  HeddleBlobsRefused: {
    fires: {
      series: { [operations('blobs.put', 'resource_exhausted')]: grows(1) },
      at: '62m',
      fires: CLUSTER,
    },
    silent: { series: { [operations('blobs.put', 'resource_exhausted')]: still(7) }, at: '62m' },
  },
  HeddleDataLoss: {
    fires: {
      series: { [operations('blobs.get', 'data_loss')]: '0+0x60 1+0x60' },
      at: '62m',
      fires: { ...CLUSTER, operation: 'blobs.get' },
    },
    silent: { series: { [operations('blobs.get', 'data_loss')]: '0+0x20 1+0x100' }, at: '62m' },
  },
  HeddleScratchFilling: {
    fires: {
      series: {
        [`stores_scratch_free_bytes{${LORSA}}`]: still(5),
        [`stores_scratch_size_bytes{${LORSA}}`]: still(100),
      },
      at: '15m',
      fires: INSTANCE,
    },
    silent: {
      series: {
        [`stores_scratch_free_bytes{${LORSA}}`]: still(50),
        [`stores_scratch_size_bytes{${LORSA}}`]: still(100),
      },
      at: '15m',
    },
  },
  HeddleModelCacheThrashes: {
    fires: {
      series: { [`models_evictions_total{${LORSA}}`]: grows(1) },
      at: '150m',
      fires: { ...CLUSTER, service: 'lorsa' },
    },
    silent: { series: { [`models_evictions_total{${LORSA}}`]: '0+0x60 5+0x100' }, at: '150m' },
  },
  HeddleModelsCannotBeOpened: {
    fires: {
      series: { [`models_opened_total{${LORSA}, outcome="failed"}`]: grows(1) },
      at: '75m',
      fires: { ...CLUSTER, service: 'lorsa' },
    },
    silent: {
      series: { [`models_opened_total{${LORSA}, outcome="fetched"}`]: grows(9) },
      at: '75m',
    },
  },
};
