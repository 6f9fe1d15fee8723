import type { Launched } from '../processes/launch.ts';
import { until } from './free-port.ts';

/** Of what a program said before it failed. */
const TAIL_CHARACTERS = 2_000;

/** Until a program that was started is there; fails, with what it said last, when it has ended or took too long. */
export async function untilUp(
  what: string,
  { exited, stderr }: Pick<Launched, 'exited' | 'stderr'>,
  isThere: () => Promise<boolean>,
  options: { readonly withinMs?: number } = {},
): Promise<void> {
  let hasEnded = false;
  void exited.then(() => {
    hasEnded = true;
  });
  await until(what, isThere, { ...options, ended: () => hasEnded }).catch((error: Error) => {
    throw new Error(`${error.message}\n${stderr().slice(-TAIL_CHARACTERS)}`);
  });
}

/** Whether a page is answered, and well. */
export const isAnswered = (url: string): Promise<boolean> =>
  fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
