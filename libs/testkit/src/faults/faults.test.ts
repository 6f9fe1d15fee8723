import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { launchCommand } from '../processes/launch.ts';
import { until } from '../servers/free-port.ts';
import { freeze, thaw } from './freeze.ts';
import { missingMount, smallDisk } from './small-disk.ts';
import { openProxy } from './tcp-proxy.ts';

/** A server that repeats what it hears, and what it heard. */
async function echo() {
  let heard = '';
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      heard += chunk;
      socket.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    heard: () => heard,
    connections: () => sockets.size,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function client(port: number) {
  const socket = connect(port, '127.0.0.1');
  let answers = '';
  let closed = false;
  socket.on('data', (chunk) => {
    answers += chunk;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    closed = true;
  });
  return { socket, answers: () => answers, closed: () => closed };
}

test('what is sent through a cut proxy arrives after it is healed, whole and in order', async () => {
  const server = await echo();
  const proxy = await openProxy(server.port);
  const one = client(proxy.port);
  one.socket.write('a');
  await until('the first answer', async () => one.answers() === 'a');

  proxy.cut();
  one.socket.write('b');
  one.socket.write('c');
  const late = client(proxy.port);
  late.socket.write('d');
  await until('what is sent while cut', async () => one.socket.bytesWritten === 3);
  // A second network carries on meanwhile: whatever could arrive would have.
  const other = await openProxy(server.port);
  const witness = client(other.port);
  witness.socket.write('w');
  await until('the witness', async () => witness.answers() === 'w');
  assert.equal(server.heard(), 'aw');
  assert.equal(one.answers(), 'a');

  proxy.heal();
  await until('the rest', async () => one.answers() === 'abc' && late.answers() === 'd');
  assert.equal(one.closed(), false, 'a cut breaks no connection');
  for (const { socket } of [one, late, witness]) socket.destroy();
  await Promise.all([proxy.close(), other.close()]);
  server.close();
});

test('a proxy that waits for a text cuts before it arrives, also when it comes in pieces', async () => {
  const server = await echo();
  const proxy = await openProxy(server.port);
  const one = client(proxy.port);
  const trap = proxy.cutBefore('PUB job.7');
  one.socket.write('PUB job.6 PUB jo');
  await until('what comes before', async () => one.answers() === 'PUB job.6 PUB jo');
  assert.equal(proxy.isCut, false);
  one.socket.write('b.7 x');
  assert.equal(await trap.happened, true);
  assert.equal(server.heard(), 'PUB job.6 PUB jo');
  proxy.heal();
  await until('the rest', async () => one.answers() === 'PUB job.6 PUB job.7 x');

  const unused = proxy.cutBefore('never');
  unused.disarm();
  assert.equal(await unused.happened, false);
  one.socket.destroy();
  await proxy.close();
  server.close();
});

test('a server that ends ends its connections through the proxy', async () => {
  const server = await echo();
  const proxy = await openProxy(server.port);
  const one = client(proxy.port);
  one.socket.write('a');
  await until('the answer', async () => one.answers() === 'a');
  server.close();
  await until('the end', async () => one.closed());
  await proxy.close();
});

test('a frozen process has stopped, and goes on when thawed', async () => {
  const loop = launchCommand([
    'sh',
    '-c',
    'i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done',
  ]);
  const process = { pid: loop.pid, signal: loop.kill };
  await loop.line(/^2$/);
  await freeze(process);
  const stopped = loop.lines.length;
  thaw(process);
  await loop.line(new RegExp(`^${stopped + 5}$`));
  loop.kill('SIGKILL');
  await loop.exited;
});

const missing = await missingMount();

test(
  'a full disk takes nothing, and after it is freed it does',
  missing ? { skip: missing } : {},
  async () => {
    const disk = await smallDisk(2 * 1024 * 1024);
    await writeFile(join(disk.path, 'before'), new Uint8Array(10_000));
    await disk.fill();
    await assert.rejects(writeFile(join(disk.path, 'during'), new Uint8Array(10_000)), /ENOSPC/);
    await disk.free();
    await writeFile(join(disk.path, 'after'), new Uint8Array(10_000));
    await disk.remove();
  },
);
