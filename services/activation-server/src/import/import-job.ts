import type { JobKind, JobRuntime, Snapshot, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { type BlobDigest, type Events, encodeOutcome, type ModelImports } from '@heddle/ports';
import { modelInfo } from '../model-info.ts';
import { NAMES_ANNOUNCED, type NamedModel } from '../model-names.ts';
import type { ModelRegistry } from '../model-registry.ts';
import {
  decodeImport,
  doneBytes,
  encodeImport,
  IMPORT_KIND,
  type ImportProgress,
  type ImportRequest,
} from './import-request.ts';

export interface ImportDeps {
  readonly registry: ModelRegistry;
  readonly imports: ModelImports;
  readonly jobs: Pick<JobRuntime, 'pin' | 'unpin'>;
  readonly events: Pick<Events, 'publish'>;
}

type ImportTask = Task<ImportRequest, null>;

/**
 * A model that every replica can open: its files one by one into the blob store, then every tensor read and checked, then the name.
 * Each file that came is a checkpoint; what came of the next one is gone on with where it lies.
 */
export function importKind(deps: ImportDeps): JobKind<ImportRequest, null> {
  return {
    kind: IMPORT_KIND,
    // Two, so that a large download does not keep a small model waiting; more only share the same line.
    limits: { concurrency: 2 },
    split: () => [{ input: null }],
    run: (task, context) => runImport(deps, task, context),
  };
}

async function runImport(
  deps: ImportDeps,
  { job, request }: ImportTask,
  context: TaskContext,
): Promise<TaskOutput> {
  const { registry, imports, jobs, events } = deps;
  const { source, asked, name } = request;
  const content = source.startsWith('content:') ? source : await download(deps, request, context);
  const files = await imports.files(content);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  context.progress({
    done: bytes,
    total: bytes,
    unit: 'bytes',
    message: 'every tensor is checked',
  });
  await registry.open(content);
  await context.pulse();
  // Through the journal's fence: who lost the job, or was cancelled, while its process stood still names nothing.
  const model = { source, files: files.map(({ name, bytes }) => ({ name, bytes, check: '' })) };
  await context.save({ ...snapshot({ model, files }), cursor: bytes + 1 });
  // Before the name is there: from then on nothing but the name's removal may let its blobs go.
  await jobs.pin(job);
  const from = { content, source, asked, job };
  const named = await registry
    .addContent(name, from, (open) => JSON.parse(JSON.stringify(modelInfo(open))))
    .catch(async (thrown: unknown) => {
      await jobs.unpin(job);
      throw thrown;
    });
  if (named.import?.job !== job) await jobs.unpin(job); // the same files had the name already
  events.publish(NAMES_ANNOUNCED, { type: 'named', name, content });
  return outputOf(named, bytes, files);
}

function outputOf(
  { name, digest, import: imported }: NamedModel,
  bytes: number,
  files: readonly { readonly digest: BlobDigest }[],
): TaskOutput {
  const { content = '', source = '' } = imported ?? {};
  const list = content.slice('content:'.length) as BlobDigest;
  const summary = {
    model: name,
    digest: `sha256:${digest}`,
    content,
    source,
    bytes,
    files: files.length,
  };
  return {
    bytes: encodeOutcome({ summary, artifacts: [] }),
    references: [...new Set([list, ...files.map((file) => file.digest)])],
    provenance: { model: name, model_digest: `sha256:${digest}` },
  };
}

/** All files into the blob store; returns their content. */
async function download(
  { imports }: ImportDeps,
  { source }: ImportRequest,
  context: TaskContext,
): Promise<string> {
  const { signal } = context;
  const saved = await context.load();
  let progress: ImportProgress = saved
    ? decodeImport(saved.bytes)
    : { model: await imports.list(source, signal), files: [] };
  const { model } = progress;
  const total = model.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const come = new Set(progress.files.map(({ name }) => name));
  // Small ones first: a config that we cannot read ends the import before its weights are fetched.
  const order = [...model.files].sort((a, b) => a.bytes - b.bytes);
  for (const file of order) {
    if (come.has(file.name)) continue;
    const before = doneBytes(progress);
    try {
      const brought = await imports.bring(model, file, {
        signal,
        onBytes: (bytes) =>
          context.progress({ done: before + bytes, total, unit: 'bytes', message: file.name }),
      });
      progress = { model, files: [...progress.files, brought] };
    } catch (thrown) {
      if (signal.aborted) await context.pulse(() => snapshot(progress)); // says why it was told to stop
      throw thrown;
    }
    await context.save(snapshot(progress));
    await context.pulse();
  }
  return imports.seal(progress.files);
}

const snapshot = (progress: ImportProgress): Snapshot => ({
  bytes: encodeImport(progress),
  cursor: doneBytes(progress),
  references: progress.files.map(({ digest }) => digest),
});
