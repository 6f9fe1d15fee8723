import { OrtEngine } from '@heddle/adapters/ort';
import { temporaryFolder } from '@heddle/testkit';
import type { ChildAnswer } from '../supervised-child.ts';
import { fileMutant } from './file-mutants.ts';
import { type Judgement, judgeFolder } from './judge-folder.ts';

export interface FileAnswer extends ChildAnswer, Judgement {
  readonly decodable: boolean;
  readonly what: string;
}

/** Room for the sessions of a few mutants: older ones are released, as they are in a server that sees many models. */
const CACHE_BYTES = 16 * 1024 * 1024;

/** Judges the mutants whose numbers it is sent, until its parent goes. */
async function main(seed: number): Promise<void> {
  const engine = await OrtEngine.start({ threads: 1, cacheBytes: CACHE_BYTES });
  const root = await temporaryFolder();
  process.on('message', async (number: number) => {
    const mutant = fileMutant(seed, number);
    const judgement = await judgeFolder(engine, root.path, mutant);
    const answer: FileAnswer = {
      ...judgement,
      text: judgement.text.slice(0, 2000),
      decodable: mutant.decodable,
      what: mutant.what,
      rssBytes: process.memoryUsage.rss(),
    };
    process.send?.(answer);
  });
  process.on('disconnect', async () => {
    await engine.close();
    await root.remove();
  });
  process.send?.('ready');
}

await main(Number(process.argv[2]));
