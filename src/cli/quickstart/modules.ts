/**
 * The kernel modules that a guest needs to be at home on Hyper-V, out of an unpacked kernel package: in the order in which
 * they can be loaded, as an initial RAM disk of their own, which the kernel unpacks over another.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type CpioEntry, writeCpio } from '../../support/cpio.ts';

/** Drivers of Hyper-V's devices, and what makes their devices usable: a file system too. What these depend on comes along. */
export const HYPERV_MODULES = [
  'hv_vmbus',
  'hv_utils',
  'hv_balloon',
  'hyperv_keyboard',
  'hid_hyperv',
  'hid_generic',
  'hyperv_fb',
  'hv_storvsc',
  'sd_mod',
  'ext4',
  'sr_mod',
  'isofs',
  'hv_netvsc',
  'hv_sock',
  'evdev',
  'mousedev',
] as const;

const FOLDER = 'lib/modules';
/** Names one module file a line, in order. */
export const MODULE_ORDER = `${FOLDER}/order`;

/** A module's name as the kernel spells it: files may have hyphens. */
function nameOf(file: string): string {
  return basename(file).replace(/\.ko$/, '').replaceAll('-', '_');
}

/** What a module's `.modinfo` section says it depends on: `depends=a,b`, between zero bytes. */
export function dependenciesOf(module: Uint8Array): string[] {
  const text = Buffer.from(module.buffer, module.byteOffset, module.length).toString('latin1');
  const names = /\0depends=([\w,-]*)\0/.exec(text)?.[1] ?? '';
  return names
    .split(',')
    .filter((name) => name !== '')
    .map(nameOf);
}

/**
 * @param root where a kernel package was unpacked. Modules that it does not have are left out; so are compressed ones, which
 * Debian 12 has none of.
 */
export function collectModules(root: string, wanted: readonly string[] = HYPERV_MODULES): Uint8Array<ArrayBuffer> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true }))
    if (entry.isFile() && entry.name.endsWith('.ko')) files.set(nameOf(entry.name), join(entry.parentPath, entry.name));

  const order = new Map<string, Uint8Array>();
  const visit = (name: string): void => {
    const path = files.get(name);
    if (path === undefined || order.has(name)) return;
    // Taken out, so that modules which depend on each other end.
    files.delete(name);
    const module = new Uint8Array(readFileSync(path));
    for (const dependency of dependenciesOf(module)) visit(dependency);
    order.set(name, module);
  };
  for (const name of wanted) visit(name);

  const entries: CpioEntry[] = [
    { kind: 'directory', path: 'lib' },
    { kind: 'directory', path: FOLDER },
    ...[...order].map(([name, data]): CpioEntry => ({ kind: 'file', path: `${FOLDER}/${name}.ko`, data, mode: 0o644 })),
    {
      kind: 'file',
      path: MODULE_ORDER,
      data: new TextEncoder().encode([...order.keys()].map((name) => `${FOLDER}/${name}.ko\n`).join('')),
      mode: 0o644,
    },
  ];
  return writeCpio(entries);
}
