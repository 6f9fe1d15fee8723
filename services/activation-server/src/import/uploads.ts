import { createHash } from 'node:crypto';
import { canonicalJson, OperationError, resourceExhausted } from '@heddle/core';
import type { BlobDigest, Clock, ContentFile, Journal, JournalEvent } from '@heddle/ports';
import { UPLOAD_KEPT_MS, UPLOADS_MAX } from '../limits.ts';

/** Events of an upload's stream; `v` is their version, and old ones are folded for ever. */
interface UploadEvent {
  readonly v: 1;
  readonly type: 'begun';
  readonly digests: readonly BlobDigest[];
}

const PREFIX = 'activation.uploads.';

/**
 * *What is being uploaded*, in the journal, so that no replica's `gc` takes the first file while the last is on a slow line: until
 * the import begins, nothing else names those blobs. Forgotten after a day.
 */
export class Uploads {
  private readonly journal: Journal;
  private readonly clock: Pick<Clock, 'now'>;

  constructor(journal: Journal, clock: Pick<Clock, 'now'>) {
    this.journal = journal;
    this.clock = clock;
  }

  /** Before the first byte; begun again, the day begins again. Errors: `resource_exhausted` past the number at a time. */
  async begin(files: readonly ContentFile[]): Promise<void> {
    const digests = [...new Set(files.map(({ digest }) => digest))].sort();
    const stream = PREFIX + createHash('sha256').update(canonicalJson(digests)).digest('hex');
    const known = await this.journal.read(stream);
    if (known.length === 0 && (await this.streams()).length >= UPLOADS_MAX) {
      throw resourceExhausted(`${UPLOADS_MAX} uploads were begun within a day`, {
        retryable: false,
        details: { limit: UPLOADS_MAX },
      });
    }
    const event: UploadEvent = { v: 1, type: 'begun', digests };
    const bytes = new TextEncoder().encode(JSON.stringify(event));
    await this.journal.append(stream, known.at(-1)?.sequence ?? 0, [bytes]).catch((thrown) => {
      // Somebody began the same a moment ago: that counts for us, too.
      if (OperationError.from(thrown).code !== 'aborted') throw thrown;
    });
  }

  /** Blobs that may not be collected. What is a day old is forgotten on the way. */
  async live(): Promise<readonly BlobDigest[]> {
    const digests = new Set<BlobDigest>();
    for (const stream of await this.streams()) {
      const last = (await this.journal.read(stream)).at(-1);
      if (last === undefined) continue;
      if (this.clock.now() - last.timeMs > UPLOAD_KEPT_MS) {
        const isSame = ({ life, sequence }: JournalEvent): boolean =>
          life === last.life && sequence === last.sequence;
        await this.journal.remove(stream, isSame).catch(() => undefined);
        continue;
      }
      const event = JSON.parse(new TextDecoder().decode(last.bytes)) as UploadEvent;
      for (const digest of event.digests) digests.add(digest);
    }
    return [...digests];
  }

  private streams(): Promise<readonly string[]> {
    return this.journal.streams(PREFIX, UPLOADS_MAX);
  }
}
