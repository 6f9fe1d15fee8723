/** A consumer of a JetStream stream as its server's monitoring shows it: what an autoscaler reads, read in the same place. */
export interface SeenConsumer {
  readonly stream: string;
  readonly name: string;
  /** What waits. */
  readonly pending: number;
  /** What is worked on. */
  readonly inFlight: number;
  /** The server that leads it; empty without a cluster, or while one is being elected. */
  readonly leader: string;
}

/** A server on a machine that does much else is late. */
const ANSWER_MS = 60_000;

interface Jsz {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly name: string;
      readonly consumer_detail?: readonly {
        readonly name: string;
        readonly num_pending: number;
        readonly num_ack_pending: number;
        readonly cluster?: { readonly leader?: string };
      }[];
    }[];
  }[];
}

/** Every consumer of the server behind a monitoring address. One that a test has stopped does not answer: `answerMs`. */
export async function consumersOf(
  monitor: string,
  answerMs = ANSWER_MS,
): Promise<readonly SeenConsumer[]> {
  const signal = AbortSignal.timeout(answerMs);
  const answer = await fetch(`${monitor}/jsz?acc=$G&consumers=true&streams=true`, { signal });
  const { account_details: accounts = [] } = (await answer.json()) as Jsz;
  return accounts
    .flatMap(({ stream_detail: streams = [] }) => streams)
    .flatMap(({ name: stream, consumer_detail: consumers = [] }) =>
      consumers.map(({ name, num_pending: pending, num_ack_pending: inFlight, cluster }) => ({
        ...{ stream, name, pending, inFlight },
        leader: cluster?.leader ?? '',
      })),
    );
}
