/** The JSON Schema of a VM's file. Beyond what the API takes it allows what the command reads: sizes as text, relative paths. */
import { z } from 'zod';
import { Boot, Disk, Dvd, NewVm } from './vm.ts';

const Path = z.string().describe('relative to this file, or absolute');
const File = NewVm.extend({
  memory: z.union([NewVm.shape.memory.unwrap(), z.string().regex(/^\d+(\.\d+)?\s*[KMGkmg]?(i?[Bb])?$/)]).optional(),
  boot: Boot.extend({ kernel: Path.nullable(), initrd: Path.nullable() }).partial().optional(),
  disks: z.array(Disk.extend({ file: Path }).partial({ slot: true })).optional(),
  dvds: z.array(Dvd.extend({ file: Path.nullable() })).optional(),
});

export function vmSchemaText(): string {
  const schema = z.toJSONSchema(File, { target: 'draft-2020-12', io: 'input', reused: 'inline' });
  return `${JSON.stringify({ ...schema, title: 'A virtual machine of Viridian' }, null, 2)}\n`;
}
