import { type OperationError, resourceExhausted } from '@heddle/core';
import { isWatch, SERVICES } from './contracts.ts';
import { CALL_LIMITS, OVERLOAD_RETRY_AFTER_MS } from './limits.ts';

/** What a process holds open at a time, whatever connections it comes over. */
export interface CallLimits {
  /** Calls that ask for work. */
  readonly calls: number;
  /** Calls that steer work or look at it: they go on when there is no room for more work. */
  readonly steering: number;
  /** Streams that only watch. */
  readonly watches: number;
  /** Bytes of their requests, as they came. */
  readonly requestBytes: number;
}

type Kind = Exclude<keyof CallLimits, 'requestBytes'>;

const NAMES: Readonly<Record<Kind, string>> = {
  calls: 'calls',
  steering: 'calls about jobs',
  watches: 'streams that watch jobs',
};

/** Room for calls: what is open is counted, and what is too much is refused before it is read. */
export class CallRoom {
  private readonly limits: CallLimits;
  private readonly open: Record<Kind, number> = { calls: 0, steering: 0, watches: 0 };
  private bytes = 0;

  constructor(limits: CallLimits = CALL_LIMITS) {
    this.limits = limits;
  }

  /** Why a call cannot be taken now; undefined when it can. */
  refusal(method: string, bytes = 0): OperationError | undefined {
    const kind = kindOf(method);
    const most = this.limits[kind];
    if (this.open[kind] >= most) {
      return refused(
        `${this.open[kind]} ${NAMES[kind]} are open here, the most there may be`,
        most,
      );
    }
    const { requestBytes } = this.limits;
    // A lone request is within the bound of messages, whatever this one is.
    if (this.bytes === 0 || this.bytes + bytes <= requestBytes) return undefined;
    return refused(`requests of ${this.bytes} bytes are open here, about the most`, requestBytes);
  }

  /** Returns what leaves it. */
  enter(method: string, bytes: number): () => void {
    const kind = kindOf(method);
    this.open[kind] += 1;
    this.bytes += bytes;
    return () => {
      this.open[kind] -= 1;
      this.bytes -= bytes;
    };
  }
}

const JOBS = `${SERVICES.jobs}/`;

function kindOf(method: string): Kind {
  if (isWatch(method)) return 'watches';
  // Reading an artifact is work of this process; the others say or ask a few bytes.
  return method.startsWith(JOBS) && method !== `${JOBS}ReadArtifact` ? 'steering' : 'calls';
}

const refused = (what: string, limit: number): OperationError =>
  resourceExhausted(`${what}: try again later`, {
    retryAfterMs: OVERLOAD_RETRY_AFTER_MS,
    details: { limit },
  });
