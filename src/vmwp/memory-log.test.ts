/** Every way in which memory is written to leaves its mark: processors of both engines, and devices. */
import { describe, expect, it } from 'vitest';
import { assembled, barePlan, CODE, DATA, MEMORY } from '../../tests/fixtures/bare.ts';
import { compileInterpreter } from '../hypervisor/interpreter/generate.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import { MemoryLog, PageSet } from './memory-log.ts';
import { SteppedMachine } from './stepped-machine.ts';

/** A loop in which each kind of store has a page of its own, behind DATA; the one beside code is in the code's page. */
// biome-ignore format: a listing
const STORES = assembled([
  ['start: mov ebx, 0x200000', 'bb 00 00 20 00'],
  ['mov ecx, 4000', 'b9 a0 0f 00 00'],
  ['again: mov [rbx], rcx', '48 89 0b'],
  ['mov [rbx + 0x1000 + 4093], rcx', '48 89 8b fd 1f 00 00'],
  ['add [rbx + 0x3000], rcx', '48 01 8b 00 30 00 00'],
  ['lock xadd [rbx + 0x4000], rcx', 'f0 48 0f c1 8b 00 40 00 00'],
  ['mov rcx, [rbx]', '48 8b 0b'],
  ['lea rdi, [rbx + 0x5000]', '48 8d bb 00 50 00 00'],
  ['mov esi, 0x200000', 'be 00 00 20 00'],
  ['mov rdx, rcx', '48 89 ca'],
  ['mov ecx, 64', 'b9 40 00 00 00'],
  ['rep movsb', 'f3 a4'],
  ['lea rdi, [rbx + 0x6000]', '48 8d bb 00 60 00 00'],
  ['mov rax, rdx', '48 89 d0'],
  ['mov ecx, 600', 'b9 58 02 00 00'],
  ['rep stosq', 'f3 48 ab'],
  ['mov rcx, rdx', '48 89 d1'],
  ['movq xmm0, rcx', '66 48 0f 6e c1'],
  ['movaps [rbx + 0x8000], xmm0', '0f 29 83 00 80 00 00'],
  ['fxsave [rbx + 0x9000]', '0f ae 83 00 90 00 00'],
  ['lea rsp, [rbx + 0xb000]', '48 8d a3 00 b0 00 00'],
  ['push rcx', '51'],
  ['mov rax, [rbx + 0xc000]', '48 8b 83 00 c0 00 00'],
  ['mov rdx, [rbx + 0xc008]', '48 8b 93 08 c0 00 00'],
  ['mov r8, rcx', '49 89 c8'],
  ['mov rcx, rbx', '48 89 d9'],
  ['xchg rbx, r8', '49 87 d8'],
  ['lock cmpxchg16b [r8 + 0xc000]', 'f0 49 0f c7 88 00 c0 00 00'],
  ['xchg rbx, r8', '49 87 d8'],
  ['mov rcx, r8', '4c 89 c1'],
  ['mov [rel data], rcx', '48 89 0d 66 00 00 00'],
  ['mov dword [rbx + 0xd000], ecx', '89 8b 00 d0 00 00'],
  ['mov byte [rbx + 0xe000], cl', '88 8b 00 e0 00 00'],
  ['xchg [rbx + 0xf000], rdx', '48 87 93 00 f0 00 00'],
  ['bts qword [rbx + 0x10000], rcx', '48 0f ab 8b 00 00 01 00'],
  ['dec ecx', 'ff c9'],
  ['jnz again', '0f 85 4d ff ff ff'],
  ['jmp start', 'e9 3e ff ff ff'],
]);
const KINDS: readonly (readonly [page: number, kind: string])[] = [
  [0, 'MOV'],
  [1, 'MOV over the end of a page'],
  [2, 'MOV into the next page'],
  [3, 'ADD'],
  [4, 'LOCK XADD'],
  [5, 'REP MOVSB'],
  [6, 'REP STOSQ'],
  [7, 'REP STOSQ in the next page'],
  [8, 'MOVAPS'],
  [9, 'FXSAVE'],
  [10, 'PUSH'],
  [12, 'CMPXCHG16B'],
  [13, 'MOV of 32 bits'],
  [14, 'MOV of 8 bits'],
  [15, 'XCHG'],
  [16, 'BTS'],
];
const PAGES = [CODE / PAGE, ...KINDS.map(([page]) => DATA / PAGE + page)];
const interpreter = compileInterpreter();

function machineOf(translated: boolean): { readonly stepped: SteppedMachine; readonly log: MemoryLog } {
  const stepped = new SteppedMachine({
    memory: MEMORY,
    plan: barePlan(STORES),
    interpreter,
    translated,
    hotAfter: 20,
  });
  return { stepped, log: new MemoryLog(stepped.machine) };
}

/** Runs on for so many instructions; the pages that are others than before, and those that are marked. */
function runOn({ stepped, log }: ReturnType<typeof machineOf>, instructions: bigint) {
  const ram = new Uint8Array(stepped.buffer, log.host(0), MEMORY);
  const before = ram.slice();
  stepped.runTo(stepped.vp.retired + instructions);
  const changed: number[] = [];
  for (let page = 0; page < MEMORY / PAGE; page++) {
    const at = page * PAGE;
    if (Buffer.compare(before.subarray(at, at + PAGE), ram.subarray(at, at + PAGE)) !== 0) changed.push(page);
  }
  const marked = new PageSet(log.pages);
  log.take(marked);
  return { changed, marked: [...marked] };
}

describe.each([false, true])('the log of stores, translated: %s', (translated) => {
  it('has every page that a processor has written to, again and again', async () => {
    const both = machineOf(translated);
    both.stepped.runTo(200_000n);
    expect(both.stepped.regions.length > 0).toBe(translated);
    for (let round = 0; round < 8; round++) {
      both.log.take(new PageSet(both.log.pages));
      await both.log.settled();
      const { changed, marked } = runOn(both, 4001n);
      // A store of what was there before is a store.
      expect(changed.length).toBeGreaterThan(PAGES.length / 2);
      expect(changed.filter((page) => !marked.includes(page))).toEqual([]);
      expect(marked).toEqual(PAGES);
    }
  });

  it('needs write translations to be dropped', () => {
    const both = machineOf(translated);
    both.stepped.runTo(200_000n);
    both.log.take(new PageSet(both.log.pages));
    const { changed, marked } = runOn(both, 4001n);
    // What takes the slow path every time is marked all the same.
    expect(changed.filter((page) => !marked.includes(page)).length).toBeGreaterThan(PAGES.length / 2);
  });
});
