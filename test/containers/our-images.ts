import { buildImage, IMAGES, imageName } from '../../deploy/docker/images.ts';
import { BASE_IMAGES, type BaseImage, NODE_IMAGE } from './base-images.ts';
import { hasImage, missingEngine } from './docker.ts';

/** Why a test of containers cannot run here; undefined when an engine answers and has what our images begin with. */
export async function missingContainers(
  needed: readonly BaseImage[] = BASE_IMAGES,
): Promise<string | undefined> {
  const engine = await missingEngine();
  if (engine !== undefined) return engine;
  for (const { name } of needed) {
    if (!(await hasImage(name))) {
      return `no container engine with ${name} (node test/containers/base-images.ts)`;
    }
  }
  return undefined;
}

/** Images of the working tree as it is now: what was built of the same files is taken as it is. */
export async function buildOurImages(): Promise<void> {
  for (const service of IMAGES) await buildImage(service);
}

export { IMAGES, imageName, NODE_IMAGE };
