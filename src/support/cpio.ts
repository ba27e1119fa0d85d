/**
 * Writes cpio archives in the "newc" format, as the kernel unpacks them for its initial RAM disk
 * (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
 */

export type CpioEntry =
  | { readonly kind: 'file'; readonly path: string; readonly data: Uint8Array; readonly mode?: number }
  | { readonly kind: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'character';
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly mode?: number;
    };

/** File types of st_mode, and the permissions an entry gets when it names none. */
const TYPES = {
  file: { type: 0o100000, mode: 0o644 },
  directory: { type: 0o040000, mode: 0o755 },
  symlink: { type: 0o120000, mode: 0o777 },
  character: { type: 0o020000, mode: 0o600 },
} as const;

const HEADER_SIZE = 110;
const TRAILER = 'TRAILER!!!';
const encoder = new TextEncoder();

/** The archive: entries in the given order (a folder before what is in it), all owned by root, all times zero. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const parts: { at: number; bytes: Uint8Array }[] = [];
  let size = 0;
  const put = (bytes: Uint8Array): void => {
    parts.push({ at: size, bytes });
    size = align(size + bytes.length, 4);
  };
  const member = (
    inode: number,
    mode: number,
    path: string,
    data: Uint8Array,
    device: readonly [number, number],
  ): void => {
    const name = encoder.encode(`${path}\0`);
    const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, device[0], device[1], name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    const head = new Uint8Array(HEADER_SIZE + name.length);
    head.set(encoder.encode(header));
    head.set(name, HEADER_SIZE);
    put(head);
    put(data);
  };

  entries.forEach((entry, index) => {
    if (entry.path === '' || entry.path.startsWith('/')) throw new RangeError(`path must be relative: '${entry.path}'`);
    const { type, mode } = TYPES[entry.kind];
    const data = entry.kind === 'file' ? entry.data : encoder.encode(entry.kind === 'symlink' ? entry.target : '');
    const permissions = ('mode' in entry ? entry.mode : undefined) ?? mode;
    const device = entry.kind === 'character' ? ([entry.major, entry.minor] as const) : ([0, 0] as const);
    member(index + 1, type | permissions, entry.path, data, device);
  });
  member(0, 0, TRAILER, new Uint8Array(0), [0, 0]);

  const archive = new Uint8Array(align(size, 512));
  for (const { at, bytes } of parts) archive.set(bytes, at);
  return archive;
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
