/** The multiboot information against QEMU's: one kernel that prints what it was given, and what our plan would give it. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planBoot } from './detect.ts';
import { ascii } from './images.fixture.ts';
import { PlannedMemory } from './memory.fixture.ts';
import { parseModuleList } from './multiboot.ts';

const MEMORY_MIB = 32;
const haveTools = ['nasm', 'qemu-system-x86_64'].every((tool) => spawnSync(tool, ['--version']).status === 0);

/** Prints to the debug console: magic, mem_lower, mem_upper, command line, then content and command line of each module. */
const KERNEL = `
bits 32
org 0x100000
header: dd 0x1badb002, 0x10003, -(0x1badb002 + 0x10003), header, header, 0, end, start
start:
  mov esp, end
  call number
  mov eax, [ebx + 4]
  call number
  mov eax, [ebx + 8]
  call number
  mov esi, [ebx + 16]
  call text
  mov ecx, [ebx + 20]
  mov edi, [ebx + 24]
module:
  jecxz done
  mov esi, [edi]
  mov edx, [edi + 4]
content:
  cmp esi, edx
  jae named
  lodsb
  out 0xe9, al
  jmp content
named:
  mov al, 10
  out 0xe9, al
  mov esi, [edi + 8]
  call text
  add edi, 16
  dec ecx
  jmp module
done:
  mov al, 0
  out 0xf4, al
halt: hlt
  jmp halt
text:
  lodsb
  test al, al
  jz line
  out 0xe9, al
  jmp text
number: ; eax in hexadecimal
  mov edx, eax
  mov ebp, 8
digit:
  rol edx, 4
  mov al, dl
  and al, 15
  cmp al, 10
  sbb al, 0x69
  das
  out 0xe9, al
  dec ebp
  jnz digit
line:
  mov al, 10
  out 0xe9, al
  ret
  times 64 db 0
end:
`;

function hexadecimal(value: number): string {
  return value.toString(16).toUpperCase().padStart(8, '0');
}

describe.skipIf(!haveTools)('multiboot as QEMU does it (skipped where nasm or qemu-system-x86_64 is missing)', () => {
  it('gives the same magic, memory sizes, command line and modules', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multiboot-'));
    try {
      const [source, kernel, one, two] = ['k.asm', 'kernel', 'one', 'two'].map((name) => join(folder, name)) as [
        string,
        string,
        string,
        string,
      ];
      writeFileSync(source, KERNEL);
      const assembled = spawnSync('nasm', ['-f', 'bin', '-o', kernel, source], { encoding: 'utf8' });
      expect(assembled.stderr).toBe('');
      writeFileSync(one, 'first');
      writeFileSync(two, 'second module');
      const modules = `${one} a b,${two}`;
      const qemu = spawnSync(
        'qemu-system-x86_64',
        // biome-ignore format: one option per line
        [
          '-display', 'none', '-serial', 'none', '-monitor', 'none', '-no-reboot',
          '-m', `${MEMORY_MIB}`,
          '-debugcon', 'stdio',
          '-device', 'isa-debug-exit,iobase=0xf4',
          '-kernel', kernel, '-append', 'x  y', '-initrd', modules,
        ],
        { encoding: 'utf8', timeout: 20_000 },
      );

      const memoryBytes = MEMORY_MIB * 1024 * 1024;
      const plan = await planBoot(readFileSync(kernel), {
        memory: memoryBytes,
        fileName: kernel,
        commandLine: 'x  y',
        modules: parseModuleList(modules).map(({ file, commandLine }) => ({
          bytes: ascii(readFileSync(file, 'utf8')),
          commandLine,
        })),
      });
      const memory = new PlannedMemory(plan, memoryBytes);
      const info = Number(plan.entry.rbx);
      const lines = [
        hexadecimal(Number(plan.entry.rax)),
        hexadecimal(memory.u32(info + 4)),
        hexadecimal(memory.u32(info + 8)),
        memory.text(memory.u32(info + 16)),
      ];
      for (let i = 0; i < memory.u32(info + 20); i++) {
        const at = memory.u32(info + 24) + i * 16;
        const [start, end] = [memory.u32(at), memory.u32(at + 4)];
        lines.push(new TextDecoder().decode(memory.slice(start, end - start)), memory.text(memory.u32(at + 8)));
      }

      const printed = qemu.stdout.split('\n').slice(0, -1);
      expect(printed).toHaveLength(8);
      // QEMU's firmware keeps 128 KiB at the top of memory for its own tables; ours keeps nothing there.
      expect(Number.parseInt(lines[2] as string, 16)).toBe((MEMORY_MIB - 1) * 1024);
      expect(Number.parseInt(printed[2] as string, 16)).toBe((MEMORY_MIB - 1) * 1024 - 128);
      expect(lines.toSpliced(2, 1)).toEqual(printed.toSpliced(2, 1));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 30_000);
});
