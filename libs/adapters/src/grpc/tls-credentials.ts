import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import {
  type ChannelCredentials,
  type ChannelOptions,
  credentials,
  experimental,
  ServerCredentials,
} from '@grpc/grpc-js';
import { dnsNames, isMember, type TlsFiles, type TlsMaterial } from '../tls/index.ts';

type Provider = experimental.CertificateProvider;

/** A service's own certificate, and whose it takes for services of its cluster. */
export interface ClusterTls {
  readonly files: TlsFiles;
  /** Names of their certificates: `isMember` of adapters/tls. */
  readonly members?: readonly string[] | undefined;
}

/** What a person's client checks a server with. */
export interface ClientTls {
  /** PEM of the authority; absent: the system's. */
  readonly ca?: string | undefined;
  /** The name expected in the server's certificate in place of the one that was asked for: behind a tunnel. */
  readonly serverName?: string | undefined;
}

export const MEMBERS: readonly string[] = ['heddle', 'heddle-*'];

/**
 * A server's TLS: a certificate is asked for and not insisted on, because people come without; who has none, or one that
 * does not hold, is for the guard to judge. A renewed certificate is used from the next connection on.
 */
export function serverCredentials(tls: ClusterTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const provider = providerOf(tls.files);
  return experimental.createCertificateProviderServerCredentials(provider, provider, false);
}

/**
 * A channel's TLS. People expect the name that they asked for. A service expects any member of its cluster: members are
 * reached by names, by addresses and through each other, and trust each other alike.
 */
export function channelCredentials(
  tls: ClusterTls | ClientTls | undefined,
  host: string,
): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  if (!('files' in tls)) {
    const { ca, serverName = host } = tls;
    return credentials.createSsl(ca === undefined ? null : Buffer.from(ca), null, null, {
      checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
    });
  }
  const { files, members = MEMBERS } = tls;
  const provider = providerOf(files);
  return experimental.createCertificateProviderChannelCredentials(provider, provider, {
    checkServerIdentity: (_: string, certificate: PeerCertificate) => {
      if (isMember(dnsNames(certificate.subjectaltname), members)) return undefined;
      return checkServerIdentity(host, certificate);
    },
  });
}

/**
 * TLS names the server that it wants, and must not name an address (RFC 6066), which grpc-js does for one. Whom the
 * certificate has to be for is checked above, by what was really asked for.
 */
export function nameIndication(host: string): ChannelOptions {
  return isIP(host) === 0 ? {} : { 'grpc.ssl_target_name_override': 'heddle' };
}

const providers = new WeakMap<TlsFiles, Provider>();

/** The same for the same files: grpc-js shares connections of credentials that are equal. */
function providerOf(files: TlsFiles): Provider {
  const made = providers.get(files) ?? makeProvider(files);
  providers.set(files, made);
  return made;
}

function makeProvider(files: TlsFiles): Provider {
  const stops = new Map<unknown, () => void>();
  // grpc-js expects the first answer after it has added itself, not meanwhile.
  const add = (listener: object, tell: (material: TlsMaterial) => void): void => {
    stops.set(listener, files.onChange(tell));
    process.nextTick(() => tell(files.current));
  };
  const remove = (listener: object): void => {
    stops.get(listener)?.();
    stops.delete(listener);
  };
  return {
    addCaCertificateListener: (listener) =>
      add(listener, ({ ca }) => listener({ caCertificate: Buffer.from(ca) })),
    removeCaCertificateListener: remove,
    addIdentityCertificateListener: (listener) =>
      add(listener, ({ cert, key }) =>
        listener({ certificate: Buffer.from(cert), privateKey: Buffer.from(key) }),
      ),
    removeIdentityCertificateListener: remove,
  };
}
