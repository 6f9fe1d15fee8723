import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launchCommand } from '../processes/launch.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { SERVERS, serverPath } from './binaries.ts';
import { freePort, listens } from './free-port.ts';
import { untilUp } from './until-up.ts';

export interface S3Server {
  readonly endpoint: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Where the objects lie as files: `store/BUCKET/KEY`. */
  readonly store: string;
  kill(): Promise<void>;
  restart(): Promise<void>;
  remove(): Promise<void>;
}

/** A real S3 server over a temporary folder, listening when this resolves. */
export async function startS3(): Promise<S3Server> {
  const folder = await temporaryFolder();
  const store = join(folder.path, 'store');
  const notes = join(folder.path, 'notes'); // beside the objects, because not every file system has attributes
  await mkdir(store);
  await mkdir(notes);
  const port = await freePort();
  const credentials = { accessKeyId: 'tester', secretAccessKey: 'only-for-tests' };
  const { accessKeyId, secretAccessKey } = credentials;
  const start = (): ReturnType<typeof launchCommand> => {
    const who = ['--access', accessKeyId, '--secret', secretAccessKey];
    const listen = ['--port', `127.0.0.1:${port}`, '--quiet', '--keep-alive'];
    const where = ['posix', '--sidecar', notes, store];
    return launchCommand([serverPath(SERVERS.s3), ...who, ...listen, ...where]);
  };
  let running = start();
  const ready = (): Promise<void> =>
    untilUp(`the S3 server on ${port}`, running, () => listens(port));
  await ready();
  const kill = async (): Promise<void> => {
    running.kill('SIGKILL');
    await running.exited;
  };
  return {
    endpoint: `http://127.0.0.1:${port}`,
    credentials,
    store,
    kill,
    restart: async () => {
      running = start();
      await ready();
    },
    remove: async () => {
      await kill();
      await folder.remove();
    },
  };
}
