import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** The longest is a pull, or a stop that waits for a drain. */
const TIMEOUT_MS = 5 * 60_000;
const OUTPUT_BYTES_MAX = 64 * 2 ** 20;

/** What `docker ARGS` printed; an error with what it said when it fails. */
export async function docker(...args: readonly string[]): Promise<string> {
  try {
    const options = { timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX };
    const { stdout } = await promisify(execFile)('docker', [...args], options);
    return stdout.trim();
  } catch (thrown) {
    const { stderr = '', message } = thrown as Error & { stderr?: string };
    throw new Error(`docker ${args[0]}: ${stderr.trim() || message}`);
  }
}

/** What the engine knows of a container or an image. */
export async function inspect<T>(name: string): Promise<T> {
  const [found] = JSON.parse(await docker('inspect', name)) as [T];
  return found;
}

export async function hasImage(name: string): Promise<boolean> {
  return docker('image', 'inspect', '--format', '{{.Id}}', name).then(
    () => true,
    () => false,
  );
}

/** Why no container can be started here; undefined when an engine answers. */
export async function missingEngine(): Promise<string | undefined> {
  try {
    await docker('version', '--format', '{{.Server.Version}}');
    return undefined;
  } catch (thrown) {
    const said = (thrown as Error).message.split('\n').at(-1) ?? '';
    return `no container engine: ${said}`;
  }
}
