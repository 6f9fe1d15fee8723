import type { webcrypto } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import './no-reflection.ts';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3600 * 1000;

/** A certificate and its key, as PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface IssueOptions {
  /** DNS names and addresses that the certificate holds for. */
  readonly names: readonly string[];
  /** It ended a day ago. */
  readonly expired?: boolean;
}

/** A certificate authority of a test: what cert-manager is to a cluster. */
export interface Authority {
  /** Its own certificate, as PEM. */
  readonly ca: string;
  issue(options: IssueOptions): Promise<Issued>;
}

export async function makeAuthority(name = 'test authority'): Promise<Authority> {
  const keys = await newKeys();
  const ca = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    ...validity(false),
    signingAlgorithm: ECDSA,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  const issue = async ({ names, expired = false }: IssueOptions): Promise<Issued> => {
    const own = await newKeys();
    const cert = await X509CertificateGenerator.create({
      subject: `CN=${names[0] ?? 'nobody'}`,
      issuer: ca.subject,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ECDSA,
      ...validity(expired),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
      ],
    });
    const pkcs8 = await crypto.subtle.exportKey('pkcs8', own.privateKey);
    return { cert: cert.toString('pem'), key: PemConverter.encode(pkcs8, 'PRIVATE KEY') };
  };
  return { ca: ca.toString('pem'), issue };
}

/** A folder as cert-manager's secrets are mounted: ca.crt, tls.crt, tls.key. Each file is replaced whole. */
export async function writeTls(
  folder: string,
  { ca }: Pick<Authority, 'ca'>,
  { cert, key }: Issued,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of [
    ['ca.crt', ca],
    ['tls.crt', cert],
    ['tls.key', key],
  ] as const) {
    const path = join(folder, name);
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ECDSA, true, ['sign', 'verify']);
}

function validity(expired: boolean): { readonly notBefore: Date; readonly notAfter: Date } {
  const ends = Date.now() + (expired ? -1 : 30) * DAY_MS;
  return { notBefore: new Date(ends - 60 * DAY_MS), notAfter: new Date(ends) };
}
