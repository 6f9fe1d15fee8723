import { eventsContract } from '@heddle/testkit';
import { LocalEvents } from './index.ts';

eventsContract('events in one process', async () => {
  const nothing = async (): Promise<void> => undefined;
  return { events: new LocalEvents(), settled: nothing, close: nothing };
});
