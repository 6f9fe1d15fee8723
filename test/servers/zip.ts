import { inflateRawSync } from 'node:zlib';

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const STORED = 0;
const DEFLATED = 8;

/**
 * One member of a zip archive, by the archive's directory at its end (PKWARE APPNOTE 4.3.12, 4.3.16). No zip64: what we
 * read is far below 4 GiB. Throws when there is no such member.
 */
export function zipMember(zip: Buffer, wanted: string): Buffer {
  const end = zip.lastIndexOf(Buffer.from(new Uint32Array([END_OF_DIRECTORY]).buffer));
  if (end < 0) throw new Error('no zip archive');
  const count = zip.readUInt16LE(end + 10);
  let at = zip.readUInt32LE(end + 16);
  for (let entry = 0; entry < count; entry++) {
    if (zip.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error('a damaged zip archive');
    const nameBytes = zip.readUInt16LE(at + 28);
    const name = zip.toString('utf8', at + 46, at + 46 + nameBytes);
    if (name === wanted) {
      return content(zip, {
        method: zip.readUInt16LE(at + 10),
        packedBytes: zip.readUInt32LE(at + 20),
        header: zip.readUInt32LE(at + 42),
      });
    }
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new Error(`no ${wanted} in the zip archive`);
}

interface Member {
  readonly method: number;
  readonly packedBytes: number;
  /** Where its own header begins, whose name and extra field may have other lengths than the directory's. */
  readonly header: number;
}

function content(zip: Buffer, { method, packedBytes, header }: Member): Buffer {
  const from = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28);
  const packed = zip.subarray(from, from + packedBytes);
  if (method === STORED) return packed;
  if (method !== DEFLATED) throw new Error(`zip method ${method}`);
  return inflateRawSync(packed);
}
