import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './free-port.ts';

/** A span as it was received. */
export interface ReceivedSpan {
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: it begins its trace. */
  readonly parentId: string;
  /** `service.name` of whoever sent it. */
  readonly service: string;
  readonly resource: Attributes;
  readonly attributes: Attributes;
  readonly isError: boolean;
  readonly message: string;
  /** Spans that it follows from. */
  readonly links: readonly string[];
  readonly tracestate: string;
}

type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface TraceReceiver {
  /** `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  /** Exports that came, received or not. */
  readonly exports: number;
  /** Headers of the last one. */
  readonly headers: IncomingMessage['headers'];
  /** From now on: takes what comes; refuses it; or never answers. */
  answer(how: 'ok' | 'refuse' | 'hang'): void;
  /** The first span that is so, when it is there. */
  span(is: (span: ReceivedSpan) => boolean, what: string): Promise<ReceivedSpan>;
  close(): Promise<void>;
}

const KINDS = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const;

/** What receives spans of OTLP over HTTP, in JSON, as a collector does. */
export async function startTraceReceiver(): Promise<TraceReceiver> {
  const spans: ReceivedSpan[] = [];
  const state = { how: 'ok', exports: 0, headers: {} as IncomingMessage['headers'] };
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      state.exports += 1;
      state.headers = request.headers;
      if (state.how === 'hang') return;
      const isTraces = request.url === '/v1/traces' && request.method === 'POST';
      const isTaken = state.how === 'ok' && isTraces;
      if (isTaken) spans.push(...spansOf(JSON.parse(Buffer.concat(chunks).toString())));
      response.writeHead(isTaken ? 200 : 400, { 'content-type': 'application/json' }).end('{}');
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    get exports() {
      return state.exports;
    },
    get headers() {
      return state.headers;
    },
    answer: (how) => {
      state.how = how;
    },
    span: async (is, what) => {
      await until(`a span: ${what}`, async () => spans.some(is)).catch((error: unknown) => {
        const seen = spans.map(({ name, kind, service }) => `${service} ${kind} ${name}`);
        throw new Error(`no span: ${what}; there are\n${seen.join('\n')}`, { cause: error });
      });
      return spans.find(is) as ReceivedSpan;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Pair {
  readonly key: string;
  readonly value: Readonly<Record<string, string | number | boolean>>;
}

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Pair[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly name: string;
        readonly kind: number;
        readonly traceId: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly traceState?: string;
        readonly attributes: readonly Pair[];
        readonly status: { readonly code: number; readonly message?: string };
        readonly links: readonly { readonly spanId: string }[];
      }[];
    }[];
  }[];
}

function spansOf({ resourceSpans }: Export): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const about = attributesOf(resource.attributes);
    return scopeSpans.flatMap(({ spans }) =>
      spans.map(
        (span): ReceivedSpan => ({
          ...{ name: span.name, traceId: span.traceId, spanId: span.spanId },
          kind: KINDS[span.kind] ?? 'internal',
          parentId: span.parentSpanId ?? '',
          service: String(about['service.name']),
          resource: about,
          attributes: attributesOf(span.attributes),
          isError: span.status.code === 2,
          message: span.status.message ?? '',
          links: span.links.map(({ spanId }) => spanId),
          tracestate: span.traceState ?? '',
        }),
      ),
    );
  });
}

function attributesOf(pairs: readonly Pair[]): Attributes {
  // Whole numbers travel as text.
  return Object.fromEntries(
    pairs.map(({ key, value }) => {
      const [kind, it] = Object.entries(value)[0] ?? ['stringValue', ''];
      return [key, kind === 'intValue' ? Number(it) : it];
    }),
  );
}
