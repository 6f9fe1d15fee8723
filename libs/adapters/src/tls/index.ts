export {
  checkMemberPattern,
  dnsNames,
  isMember,
  readPem,
  TlsFiles,
  type TlsMaterial,
  type TlsPaths,
  tlsPaths,
} from './tls-files.ts';
