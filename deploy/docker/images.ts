import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { VERSION } from '@heddle/core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCKERFILE = fileURLToPath(new URL('Dockerfile', import.meta.url));
/** A cold build installs every package; the cuda variant fetches 2 GB. */
const BUILD_TIMEOUT_MS = 60 * 60_000;
const OUTPUT_BYTES_MAX = 64 * 2 ** 20;
const SAID_LINES = 15;

export const IMAGES = [
  ...(['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const),
  'explorer',
] as const;
export type ImageName = (typeof IMAGES)[number];
export const VARIANTS = ['cpu', 'cuda'] as const;
export type Variant = (typeof VARIANTS)[number];

export interface BuildOptions {
  readonly variant: Variant;
  /** `registry.example.org/team`; empty: none. */
  readonly registry: string;
  readonly tag: string;
}

export const BUILD_DEFAULTS: BuildOptions = { variant: 'cpu', registry: '', tag: VERSION };

/** `heddle-lorsa:0.1.0`, `heddle-lorsa:0.1.0-cuda`. */
export function imageName(service: ImageName, options: Partial<BuildOptions> = {}): string {
  const { registry, tag, variant } = { ...BUILD_DEFAULTS, ...options };
  const where = registry === '' || registry.endsWith('/') ? registry : `${registry}/`;
  return `${where}heddle-${service}:${tag}${variant === 'cuda' ? '-cuda' : ''}`;
}

/** Builds one image with the docker program on PATH; layers that did not change are taken as they are. */
export async function buildImage(
  service: ImageName,
  options: Partial<BuildOptions> = {},
): Promise<string> {
  const { variant } = { ...BUILD_DEFAULTS, ...options };
  const name = imageName(service, options);
  const values = { SERVICE: service, VARIANT: variant, VERSION, REVISION: await revision() };
  const args = Object.entries(values).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`]);
  try {
    await promisify(execFile)('docker', ['build', '-f', DOCKERFILE, '-t', name, ...args, ROOT], {
      timeout: BUILD_TIMEOUT_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
    });
  } catch (thrown) {
    throw new Error(`${name} was not built: ${endOf(thrown)}`);
  }
  return name;
}

function endOf(thrown: unknown): string {
  const { stdout = '', stderr = '', message } = thrown as Error & Record<string, string>;
  const said = `${stdout}\n${stderr}`.trim() || message;
  return said.split('\n').slice(-SAID_LINES).join('\n');
}

/** The commit; an export without git has none. */
async function revision(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('git', ['rev-parse', 'HEAD'], { cwd: ROOT });
    return stdout.trim();
  } catch {
    return 'unknown';
  }
}
