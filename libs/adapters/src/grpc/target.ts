import { isIPv4, isIPv6 } from 'node:net';
import { invalidArgument } from '@heddle/core';

/** What grpc-js connects to, and whether calls are spread over what it stands for. */
export interface Target {
  readonly name: string;
  readonly spread: boolean;
}

const ADDRESS = /^(?:dns:\/\/\/)?(?:\[([^\]]+)\]|([\w.-]+)):(\d{1,5})$/;

/**
 * One server (`host:7411`), a name that stands for several (`dns:///lorsa:7411`), or several addresses, which must be
 * numbers: grpc-js resolves one name at a time. Errors: `invalid_argument`.
 */
export function targetOf(addresses: readonly string[]): Target {
  const [only = '', ...more] = addresses;
  if (more.length === 0) {
    if (!ADDRESS.test(only)) throw invalidArgument(`${only} is no HOST:PORT`);
    return { name: only, spread: only.startsWith('dns:///') };
  }
  const numbers = addresses.map((address) => {
    const [, six, host = '', port] = ADDRESS.exec(address) ?? [];
    const number = host === 'localhost' ? '127.0.0.1' : host;
    if (six !== undefined && isIPv6(six)) return { scheme: 'ipv6', text: `[${six}]:${port}` };
    if (isIPv4(number)) return { scheme: 'ipv4', text: `${number}:${port}` };
    throw invalidArgument(
      `${address} is one of several addresses and no IP:PORT; a name that stands for several servers is given alone, as dns:///NAME:PORT`,
    );
  });
  const [first] = numbers;
  if (numbers.some(({ scheme }) => scheme !== first?.scheme)) {
    throw invalidArgument(`${addresses.join(', ')}: IPv4 and IPv6 addresses cannot be mixed`);
  }
  return { name: `${first?.scheme}:${numbers.map(({ text }) => text).join(',')}`, spread: true };
}
