import type { ContentFile, ModelSource } from '@heddle/ports';

export const IMPORT_KIND = 'activation.import';

/** What an import job was asked for. */
export type ImportRequest = {
  /** Pinned: `hf:OWNER/NAME@` and a commit, `content:…`, or a folder that is used in place. */
  readonly source: string;
  /** As it was asked for. */
  readonly asked: string;
  readonly name: string;
};

/** What is in the blob store by now. */
export interface ImportProgress {
  readonly model: ModelSource;
  readonly files: readonly ContentFile[];
}

export const doneBytes = ({ files }: ImportProgress): number =>
  files.reduce((sum, { bytes }) => sum + bytes, 0);

export function encodeImport(progress: ImportProgress): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ version: 1, ...progress }));
}

export function decodeImport(bytes: Uint8Array): ImportProgress {
  const { model, files } = JSON.parse(new TextDecoder().decode(bytes)) as ImportProgress;
  return { model, files };
}
