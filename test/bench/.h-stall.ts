import { systemClock } from '@heddle/adapters/clock';
import { openNats } from '@heddle/adapters/nats';
import { SERVERS, silentLog, startNats } from '@heddle/testkit';

const server = await startNats(SERVERS[process.argv[2] ?? 'natsCurrent']);
const clock = systemClock;
const open = () => openNats({ servers: [server.url], clock, log: silentLog, prefix: 'm' });
const stores = [await open(), await open(), await open()];
const q = 'tasks.x';
const b = new Uint8Array(10);
let n = 0;
let done = 0;
const N = 600;
const stop = new AbortController();
const lane = process.argv[3];
setTimeout(() => process.exit(1), 30000);
for (; n < 28; n++) await stores[2].queue.push(q, `j.2.${n}`, b, lane ? { lane } : {});
let last = performance.now(),
  worst = 0;
const worker = async (i: number) => {
  while (!stop.signal.aborted) {
    const d = await stores[i].queue.pull(q, {
      ackWaitMs: 30000,
      attemptsMax: 50,
      waitMs: 15000,
      signal: stop.signal,
    });
    if (!d) continue;
    await clock.sleep(20);
    await d.ack();
    done++;
    const now = performance.now();
    worst = Math.max(worst, now - last);
    last = now;
    if (n < N) {
      const k = n++;
      await stores[i].queue.push(q, `j.2.${k}`, b, lane ? { lane } : {});
    }
    if (done === N) stop.abort();
  }
};
const t = setInterval(async () => console.log(done, await stores[2].queue.depth(q)), 1000);
await Promise.race([Promise.all([worker(0), worker(0), worker(1), worker(1)]), clock.sleep(12000)]);
clearInterval(t);
console.log('done', done, 'worst gap', worst.toFixed(0));
for (const s of stores) await s.close();
await server.remove();
process.exit(0);
