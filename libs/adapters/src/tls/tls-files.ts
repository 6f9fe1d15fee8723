import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { failedPrecondition, invalidArgument } from '@heddle/core';
import type { Log } from '@heddle/ports';
import { TLS_EXPIRY_WARN_MS, TLS_FILE_BYTES_MAX, TLS_POLL_MS } from './limits.ts';

/** Where a service's certificate lies. */
export interface TlsPaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** What the files say now; PEM. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** DNS names that the certificate holds for. */
  readonly names: readonly string[];
  readonly expiresMs: number;
}

/** A secret of cert-manager, mounted as a folder. */
export function tlsPaths(folder: string): TlsPaths {
  return {
    ca: join(folder, 'ca.crt'),
    cert: join(folder, 'tls.crt'),
    key: join(folder, 'tls.key'),
  };
}

/**
 * A service's certificate, key and authority, read again when they change. Three files are not replaced in one step: a
 * certificate that does not fit its key yet is left for the next look, and what was read last stays in use.
 */
export class TlsFiles {
  private readonly paths: TlsPaths;
  private readonly log: Log;
  private readonly timer: NodeJS.Timeout;
  private readonly listeners = new Set<(material: TlsMaterial) => void>();
  private material: TlsMaterial;
  private complaint = '';
  private endTold = false;

  private constructor(paths: TlsPaths, log: Log, material: TlsMaterial, pollMs: number) {
    this.paths = paths;
    this.log = log;
    this.material = material;
    this.timer = setInterval(() => void this.reload(), pollMs);
    this.timer.unref();
  }

  /** Errors: `failed_precondition` naming the file that cannot be used. */
  static async open(
    paths: TlsPaths,
    { log, pollMs = TLS_POLL_MS }: { readonly log: Log; readonly pollMs?: number },
  ): Promise<TlsFiles> {
    const material = await readMaterial(paths);
    const files = new TlsFiles(paths, log, material, pollMs);
    files.tell('TLS is on', material);
    return files;
  }

  get current(): TlsMaterial {
    return this.material;
  }

  /** When the certificate ended; undefined while it holds. */
  get ended(): Date | undefined {
    const { expiresMs } = this.material;
    return Date.now() < expiresMs ? undefined : new Date(expiresMs);
  }

  /** Calls back with what is read from now on; returns how to stop. */
  onChange(listener: (material: TlsMaterial) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Looks now. True when the files had changed. */
  async reload(): Promise<boolean> {
    let material: TlsMaterial;
    try {
      material = await readMaterial(this.paths);
    } catch (thrown) {
      const { message } = thrown as Error;
      if (message !== this.complaint)
        this.log.warn('TLS keeps the certificate it has', { message });
      this.complaint = message;
      return false;
    }
    this.complaint = '';
    if (this.ended !== undefined && !this.endTold) this.tell('TLS has a certificate', material);
    const { ca, cert, key } = this.material;
    if (material.ca === ca && material.cert === cert && material.key === key) return false;
    this.material = material;
    this.tell('TLS has a new certificate', material);
    for (const listener of [...this.listeners]) listener(material);
    return true;
  }

  close(): void {
    clearInterval(this.timer);
    this.listeners.clear();
  }

  private tell(what: string, { names, expiresMs }: TlsMaterial): void {
    const fields = { names, expires: new Date(expiresMs).toISOString() };
    this.endTold = Date.now() >= expiresMs;
    if (this.endTold) {
      const reason = 'it has ended: nobody can connect until it is renewed';
      this.log.error(`${what}, and ${reason}`, fields);
    } else if (expiresMs - Date.now() > TLS_EXPIRY_WARN_MS) this.log.info(what, fields);
    else this.log.warn(`${what}, and it ends soon: is it being renewed?`, fields);
  }
}

async function readMaterial(paths: TlsPaths): Promise<TlsMaterial> {
  const [ca, cert, key] = await Promise.all([
    readPem(paths.ca),
    readPem(paths.cert),
    readPem(paths.key),
  ]);
  const own = parsed(paths.cert, () => new X509Certificate(cert));
  parsed(paths.ca, () => new X509Certificate(ca));
  const fits = parsed(paths.key, () => own.checkPrivateKey(createPrivateKey(key)));
  if (!fits) throw failedPrecondition(`${paths.key} is not the key of ${paths.cert}`);
  const names = dnsNames(own.subjectAltName);
  return { ca, cert, key, names, expiresMs: Date.parse(own.validTo) };
}

/** A PEM file. Errors: `failed_precondition` naming it. */
export async function readPem(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > TLS_FILE_BYTES_MAX) throw new Error(`it has ${size} bytes`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    const why = (cause as Error).message;
    throw failedPrecondition(`TLS: ${path} cannot be read: ${why}`, { cause });
  }
}

function parsed<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    // Not the parser's words: they may quote what it read, and one of these files is a secret.
    throw failedPrecondition(`TLS: ${path} is no PEM file of what its name says`, { cause });
  }
}

/**
 * DNS names of a certificate's subjectAltName as Node writes it. One with characters that Node has to quote is no name
 * of ours, and could be made to look like several: then there are none.
 */
export function dnsNames(subjectAltName: string | undefined): readonly string[] {
  if (subjectAltName === undefined || subjectAltName.includes('"')) return [];
  return subjectAltName
    .split(', ')
    .filter((part) => part.startsWith('DNS:'))
    .map((part) => part.slice('DNS:'.length).toLowerCase());
}

/**
 * Whether one of the names is a member's. A pattern without a dot is compared with a name's first label, one with a dot
 * with the whole; `*` stands for characters of one label.
 */
export function isMember(names: readonly string[], patterns: readonly string[]): boolean {
  const rules = patterns.map((pattern) => ({
    whole: pattern.includes('.'),
    rule: ruleOf(pattern),
  }));
  return names.some((name) => {
    const [label = ''] = name.split('.');
    return rules.some(({ whole, rule }) => rule.test(whole ? name : label));
  });
}

/** Errors: `invalid_argument`. */
export function checkMemberPattern(pattern: string): void {
  if (/^[a-z0-9*-]+(\.[a-z0-9*-]+)*$/.test(pattern) && !/^[*.]+$/.test(pattern)) return;
  throw invalidArgument(
    `'${pattern}' is no name of a certificate, such as heddle-* or heddle.example.org`,
  );
}

function ruleOf(pattern: string): RegExp {
  const text = pattern.replaceAll('.', '\\.').replaceAll('*', '[a-z0-9-]*');
  return new RegExp(`^${text}$`);
}
