// Ends with 0 when the process of this container says that it is ready: for engines that know no other probe.
import { request as plain } from 'node:http';
import { request as encrypted } from 'node:https';

/** The image says 3 s to the engine: this must give up before, so that its own words are seen. */
const TIMEOUT_MS = 2_500;

const { HEDDLE_HTTP_PORT: port = '7412', HEDDLE_TLS_DIR, HEDDLE_TLS_CERT } = process.env;
const request = HEDDLE_TLS_DIR || HEDDLE_TLS_CERT ? encrypted : plain;
// Nobody else answers on this container's own loopback, and its certificate names no address.
const options = { rejectUnauthorized: false, timeout: TIMEOUT_MS };
const where = `${request === encrypted ? 'https' : 'http'}://127.0.0.1:${port}/readyz`;

function end(isReady: boolean, words: string): never {
  process.stdout.write(`${words}\n`);
  process.exit(isReady ? 0 : 1);
}

request(where, options, ({ statusCode }) => end(statusCode === 200, `${where} says ${statusCode}`))
  .on('timeout', () => end(false, `${where} did not answer within ${TIMEOUT_MS} ms`))
  .on('error', ({ message }) => end(false, `${where}: ${message}`))
  .end();
