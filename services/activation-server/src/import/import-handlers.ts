import { createHash } from 'node:crypto';
import type { JobRuntime, JobView } from '@heddle/actor';
import { OperationError, resourceExhausted } from '@heddle/core';
import type { CallContext, ContentFile, Events, Handlers, ModelImports } from '@heddle/ports';
import type { ActivationService } from '@heddle/ports/proto/activation';
import { IMPORTS_SAME_MAX } from '../limits.ts';
import { infoOf } from '../model-info.ts';
import { NAMES_ANNOUNCED } from '../model-names.ts';
import { FORM_ONLY, type ModelRegistry } from '../model-registry.ts';
import { IMPORT_KIND, type ImportRequest } from './import-request.ts';
import { receiveUpload } from './receive-upload.ts';
import type { Uploads } from './uploads.ts';

export interface ImportHandlerDeps {
  readonly registry: ModelRegistry;
  readonly imports: ModelImports;
  readonly uploads: Pick<Uploads, 'begin'>;
  readonly jobs: Pick<JobRuntime, 'submit' | 'resume' | 'wait' | 'unpin'>;
  readonly events: Pick<Events, 'publish'>;
  /** Other replicas share journal and blobs: a folder that this process sees is brought to them. */
  readonly shared: boolean;
}

type ImportMethods = Pick<
  Handlers<ActivationService>,
  'ImportModel' | 'StartImportModel' | 'UploadModel' | 'RemoveModel'
>;

/** Models come and go. What takes long is a job. */
export function importHandlers(deps: ImportHandlerDeps): ImportMethods {
  const { registry, imports, uploads, jobs, events, shared } = deps;
  return {
    async ImportModel({ source, name }, call) {
      const inPlace = !shared && !source.startsWith('hf:') && !source.startsWith('content:');
      if (inPlace) return { model: infoOf(await registry.add(source, name)) };
      const { id, request } = await start(deps, { source, name, key: '' }, call);
      const ended = await jobs.wait(id, call.signal);
      if (ended.status !== 'completed') throw failureOf(ended);
      return { model: infoOf(await registry.describe((request as ImportRequest).name)) };
    },

    async StartImportModel({ source, name, client_key: key }, call) {
      return { job: { id: (await start(deps, { source, name, key }, call)).id } };
    },

    UploadModel: (requests, { signal }) => receiveUpload(imports, uploads, requests, signal),

    async RemoveModel({ name }) {
      const { import: imported } = await registry.remove(name);
      if (imported) {
        // Its blobs are free when the job's are. Gone already: then they are, too.
        await jobs.unpin(imported.job).catch(ignoreAbsent);
        events.publish(NAMES_ANNOUNCED, { type: 'removed', name, content: imported.content });
      }
      return {};
    },
  };
}

/** Where nothing is brought anywhere: folders, read where they lie. */
export function inPlace(
  registry: ModelRegistry,
): Pick<ImportMethods, 'ImportModel' | 'RemoveModel'> {
  return {
    async ImportModel({ source, name }) {
      return { model: infoOf(await registry.add(source, name)) };
    },
    async RemoveModel({ name }) {
      await registry.remove(name);
      return {};
    },
  };
}

interface Asked {
  readonly source: string;
  readonly name: string;
  readonly key: string;
}

/** What is wrong about name and source is said now; the job does the rest. */
async function start(
  { registry, imports, uploads, jobs, shared }: ImportHandlerDeps,
  { source: asked, name, key }: Asked,
  { signal }: CallContext,
): Promise<JobView> {
  await registry.nameFor(asked, name, FORM_ONLY); // its form, before a hub is asked
  let source = await imports.pin(asked, signal);
  const isFolder = !source.startsWith('hf:') && !source.startsWith('content:');
  // Only this process is sure to see the folder; the job may run on any.
  if (isFolder && shared) source = await publishFolder({ imports, uploads }, source, signal);
  // Now that its content is known: the same folder asked for again is the same model.
  const wanted = await registry.nameFor(asked, name, source);
  const request: ImportRequest = { source, asked, name: wanted };
  if (key !== '') return jobs.submit(IMPORT_KIND, request, { key });
  return startUnlessDone({ registry, jobs }, request);
}

/** The job that does, or did, just this; a new one where that failed, or its model was removed since. */
async function startUnlessDone(
  { registry, jobs }: Pick<ImportHandlerDeps, 'registry' | 'jobs'>,
  request: ImportRequest,
): Promise<JobView> {
  const text = JSON.stringify([request.source, request.name]);
  const key = `import-${createHash('sha256').update(text).digest('hex')}`;
  for (let number = 1; number <= IMPORTS_SAME_MAX; number++) {
    const job = await jobs
      .submit(IMPORT_KIND, request, { key: number === 1 ? key : `${key}.${number}` })
      .catch((thrown: unknown) => {
        // The same commit, asked for as a branch before: another request under this key.
        if (OperationError.from(thrown).code !== 'already_exists') throw thrown;
      });
    if (job === undefined || job.status === 'cancelled') continue;
    if (job.status === 'failed') {
      if (job.error?.retryable) return jobs.resume(job.id);
    } else if (job.status === 'completed') {
      const named = await registry.named(request.name);
      if (named?.import?.job === job.id) return job;
    } else return job.status === 'paused' ? jobs.resume(job.id) : job;
  }
  throw resourceExhausted(
    `${request.asked} was imported as ${request.name} and removed ${IMPORTS_SAME_MAX} times: give a client key`,
    {
      retryable: false,
    },
  );
}

async function publishFolder(
  { imports, uploads }: Pick<ImportHandlerDeps, 'imports' | 'uploads'>,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  const model = await imports.list(path, signal);
  const files: ContentFile[] = [];
  for (const file of model.files) {
    files.push(await imports.bring(model, file, { signal }));
    await uploads.begin(files);
  }
  return imports.seal(files);
}

function failureOf({ id, status, error }: JobView): OperationError {
  if (error === undefined) {
    return new OperationError({ code: 'cancelled', message: `import ${id} was ${status}` });
  }
  const { code, message, field, retryable, details } = error;
  return new OperationError({
    code: code as OperationError['code'],
    message,
    retryable,
    ...(details === undefined ? {} : { details }),
    ...(field === undefined ? {} : { field }),
  });
}

function ignoreAbsent(thrown: unknown): void {
  const { code } = OperationError.from(thrown);
  if (code !== 'not_found') throw thrown;
}
