/** Instruction sequences whose translation is kept as text; see golden.ts. Each runs for ever. */

export interface Sequence {
  readonly name: string;
  readonly what?: string;
  /** Offset of the first instruction from the beginning of a page, and of the region that is kept. */
  readonly at: number;
  readonly entry: number;
  /** Translated to stop at any instruction. */
  readonly exact?: boolean;
  readonly listing: readonly (readonly [text: string, bytes: string])[];
}

export const SEQUENCES: readonly Sequence[] = [
  {
    name: 'counted-loop',
    what: 'sums quadwords of an array',
    at: 0x0,
    entry: 0xf,
    // biome-ignore format: a listing
    listing: [
      ['mov ebx, 0x200000',     'bb 00 00 20 00'],
      ['start: xor eax, eax',   '31 c0'],
      ['mov ecx, 1000',         'b9 e8 03 00 00'],
      ['mov rsi, rbx',          '48 89 de'],
      ['again: add rax, [rsi]', '48 03 06'],
      ['add rsi, 8',            '48 83 c6 08'],
      ['dec ecx',               'ff c9'],
      ['jnz again',             '75 f5'],
      ['jmp start',             'eb e9'],
    ],
  },
  {
    name: 'copy-loop',
    what: 'copies quadwords by a register each',
    at: 0x0,
    entry: 0xf,
    // biome-ignore format: a listing
    listing: [
      ['start: mov esi, 0x200000', 'be 00 00 20 00'],
      ['mov edi, 0x280000',        'bf 00 00 28 00'],
      ['mov ecx, 1000',            'b9 e8 03 00 00'],
      ['again: mov rax, [rsi]',    '48 8b 06'],
      ['mov [rdi], rax',           '48 89 07'],
      ['add rsi, 8',               '48 83 c6 08'],
      ['add rdi, 8',               '48 83 c7 08'],
      ['sub rcx, 1',               '48 83 e9 01'],
      ['jnz again',                '75 ec'],
      ['jmp start',                'eb db'],
    ],
  },
  {
    name: 'compare-chain',
    what: 'several conditions of one comparison, and of several',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: cmp rax, rbx', '48 39 d8'],
      ['je equal',            '74 0c'],
      ['jb below',            '72 0e'],
      ['cmp eax, 100',        '83 f8 64'],
      ['jg above',            '7f 0f'],
      ['inc rax',             '48 ff c0'],
      ['jmp start',           'eb ef'],
      ['equal: xor eax, eax', '31 c0'],
      ['jmp start',           'eb eb'],
      ['below: add rax, 3',   '48 83 c0 03'],
      ['jmp start',           'eb e5'],
      ['above: sub rax, 90',  '48 83 e8 5a'],
      ['jmp start',           'eb df'],
    ],
  },
  {
    name: 'call-and-return',
    what: 'a function called in a loop',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov edi, 5',          'bf 05 00 00 00'],
      ['call double',                'e8 06 00 00 00'],
      ['add rax, rdi',               '48 01 f8'],
      ['jmp start',                  'eb f1'],
      ['nop',                        '90'],
      ['double: lea rax, [rdi+rdi]', '48 8d 04 3f'],
      ['ret',                        'c3'],
    ],
  },
  {
    name: 'flags-across-blocks',
    what: 'flags set in one block and read in the next',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: add rax, 7', '48 83 c0 07'],
      ['jmp middle',        'eb 01'],
      ['nop',               '90'],
      ['middle: jc carry',  '72 06'],
      ['adc rdx, 0',        '48 83 d2 00'],
      ['jmp start',         'eb f1'],
      ['carry: setc cl',    '0f 92 c1'],
      ['jmp start',         'eb ec'],
    ],
  },
  {
    name: 'dead-flags',
    what: 'flags that nobody reads',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: add rax, 1', '48 83 c0 01'],
      ['add rbx, rax',      '48 01 c3'],
      ['sub rcx, rbx',      '48 29 d9'],
      ['xor rdx, rcx',      '48 31 ca'],
      ['and rsi, rdx',      '48 21 d6'],
      ['jmp start',         'eb ee'],
    ],
  },
  {
    name: 'sse-scalar',
    what: 'a sum of products',
    at: 0x0,
    entry: 0xe,
    // biome-ignore format: a listing
    listing: [
      ['start: mov esi, 0x200000', 'be 00 00 20 00'],
      ['mov ecx, 1000',            'b9 e8 03 00 00'],
      ['pxor xmm0, xmm0',          '66 0f ef c0'],
      ['again: movsd xmm1, [rsi]', 'f2 0f 10 0e'],
      ['mulsd xmm1, xmm1',         'f2 0f 59 c9'],
      ['addsd xmm0, xmm1',         'f2 0f 58 c1'],
      ['add rsi, 8',               '48 83 c6 08'],
      ['dec ecx',                  'ff c9'],
      ['jnz again',                '75 ec'],
      ['jmp start',                'eb dc'],
    ],
  },
  {
    name: 'sse-packed',
    what: 'integers, four at a time',
    at: 0x0,
    entry: 0xa,
    // biome-ignore format: a listing
    listing: [
      ['start: mov esi, 0x200000',  'be 00 00 20 00'],
      ['mov ecx, 1000',             'b9 e8 03 00 00'],
      ['again: movdqu xmm0, [rsi]', 'f3 0f 6f 06'],
      ['paddd xmm0, xmm2',          '66 0f fe c2'],
      ['pxor xmm0, xmm3',           '66 0f ef c3'],
      ['movdqu [rsi], xmm0',        'f3 0f 7f 06'],
      ['add rsi, 16',               '48 83 c6 10'],
      ['dec ecx',                   'ff c9'],
      ['jnz again',                 '75 e8'],
      ['jmp start',                 'eb dc'],
    ],
  },
  {
    name: 'float-compare',
    what: 'a comparison of floats as a condition',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: ucomisd xmm0, xmm1', '66 0f 2e c1'],
      ['ja above',                  '77 06'],
      ['addsd xmm0, xmm2',          'f2 0f 58 c2'],
      ['jmp start',                 'eb f4'],
      ['above: subsd xmm0, xmm3',   'f2 0f 5c c3'],
      ['jmp start',                 'eb ee'],
    ],
  },
  {
    name: 'locked',
    what: 'LOCK forms',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov ebx, 0x200000',   'bb 00 00 20 00'],
      ['lock inc qword [rbx]',       'f0 48 ff 03'],
      ['mov eax, 1',                 'b8 01 00 00 00'],
      ['lock xadd [rbx+8], eax',     'f0 0f c1 43 08'],
      ['lock cmpxchg [rbx+16], ecx', 'f0 0f b1 4b 10'],
      ['xchg [rbx+24], rdx',         '48 87 53 18'],
      ['jmp start',                  'eb e2'],
    ],
  },
  {
    name: 'string',
    what: 'a repeated string instruction, which is left to the interpreter',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov esi, 0x200000', 'be 00 00 20 00'],
      ['mov edi, 0x280000',        'bf 00 00 28 00'],
      ['mov ecx, 64',              'b9 40 00 00 00'],
      ['rep movsq',                'f3 48 a5'],
      ['jmp start',                'eb ec'],
    ],
  },
  {
    name: 'system',
    what: 'an instruction that a function of the interpreter executes',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: rdtsc', '0f 31'],
      ['shl rdx, 32',  '48 c1 e2 20'],
      ['or rax, rdx',  '48 09 d0'],
      ['jmp start',    'eb f5'],
    ],
  },
  {
    name: 'push-pop',
    what: 'the stack',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: push rbx',  '53'],
      ['push rbp',         '55'],
      ['mov rbp, rsp',     '48 89 e5'],
      ['sub rsp, 32',      '48 83 ec 20'],
      ['mov [rbp-8], rax', '48 89 45 f8'],
      ['leave',            'c9'],
      ['pop rbx',          '5b'],
      ['jmp start',        'eb ef'],
    ],
  },
  {
    name: 'indirect-jump',
    what: 'a table of targets',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov ebx, 0x100020', 'bb 20 00 10 00'],
      ['jmp rbx',                  'ff e3'],
      ['times 0x20-($-$$) nop',    '90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90'],
      ['inc rax',                  '48 ff c0'],
      ['jmp start',                'eb db'],
    ],
  },
  {
    name: 'narrow',
    what: 'operands of 8 and 16 bits',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov al, bl', '88 d8'],
      ['add ah, cl',        '00 cc'],
      ['add cx, ax',        '66 01 c1'],
      ['movzx edx, al',     '0f b6 d0'],
      ['movsx rsi, cx',     '48 0f bf f1'],
      ['jmp start',         'eb f0'],
    ],
  },
  {
    name: 'shifts',
    what: 'constant and variable counts',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: shl rax, 3', '48 c1 e0 03'],
      ['shr rbx, cl',       '48 d3 eb'],
      ['sar edx, 1',        'd1 fa'],
      ['rol rsi, 7',        '48 c1 c6 07'],
      ['shld rdi, rax, 5',  '48 0f a4 c7 05'],
      ['jmp start',         'eb ec'],
    ],
  },
  {
    name: 'multiply-divide',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov eax, 1000', 'b8 e8 03 00 00'],
      ['mul rbx',              '48 f7 e3'],
      ['imul rcx, rax, 10',    '48 6b c8 0a'],
      ['xor edx, edx',         '31 d2'],
      ['mov esi, 7',           'be 07 00 00 00'],
      ['div rsi',              '48 f7 f6'],
      ['jmp start',            'eb e8'],
    ],
  },
  {
    name: 'nested-loops',
    at: 0x0,
    entry: 0xa,
    // biome-ignore format: a listing
    listing: [
      ['start: mov edx, 40',  'ba 28 00 00 00'],
      ['outer: mov ecx, 40',  'b9 28 00 00 00'],
      ['inner: add rax, rcx', '48 01 c8'],
      ['dec ecx',             'ff c9'],
      ['jnz inner',           '75 f9'],
      ['dec edx',             'ff ca'],
      ['jnz outer',           '75 f0'],
      ['jmp start',           'eb e9'],
    ],
  },
  {
    name: 'set-and-move',
    what: 'conditions as values',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: cmp rax, rcx', '48 39 c8'],
      ['setl bl',             '0f 9c c3'],
      ['cmovg rdx, rax',      '48 0f 4f d0'],
      ['sbb rsi, rsi',        '48 19 f6'],
      ['test eax, 0x40',      'a9 40 00 00 00'],
      ['cmovnz rdi, rcx',     '48 0f 45 f9'],
      ['inc rax',             '48 ff c0'],
      ['jmp start',           'eb e5'],
    ],
  },
  {
    name: 'bits',
    what: 'tests, scans, counts',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: bt rax, 5', '48 0f ba e0 05'],
      ['jc set',           '72 10'],
      ['bsr rbx, rax',     '48 0f bd d8'],
      ['popcnt rcx, rax',  'f3 48 0f b8 c8'],
      ['bts rax, 5',       '48 0f ba e8 05'],
      ['jmp start',        'eb e9'],
      ['set: btr rax, 5',  '48 0f ba f0 05'],
      ['jmp start',        'eb e2'],
    ],
  },
  {
    name: 'segment',
    what: 'the base of GS',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov rax, [gs:0x200010]', '65 48 8b 04 25 10 00 20 00'],
      ['add [gs:0x200018], rax',        '65 48 01 04 25 18 00 20 00'],
      ['jmp start',                     'eb ec'],
    ],
  },
  {
    name: 'address-forms',
    what: 'base, index, scale, displacement, RIP',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: mov ebx, 0x200000', 'bb 00 00 20 00'],
      ['mov ecx, 2',               'b9 02 00 00 00'],
      ['mov rax, [rbx+rcx*8+16]',  '48 8b 44 cb 10'],
      ['mov eax, [ebx+ecx]',       '67 8b 04 0b'],
      ['mov rdx, [rel start]',     '48 8b 15 e6 ff ff ff'],
      ['mov rsi, [0x200000]',      '48 8b 34 25 00 00 20 00'],
      ['jmp start',                'eb dc'],
    ],
  },
  {
    name: 'interrupt-flag',
    what: 'CLI and STI',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: pushfq', '9c'],
      ['cli',           'fa'],
      ['inc rax',       '48 ff c0'],
      ['popfq',         '9d'],
      ['jmp start',     'eb f8'],
    ],
  },
  {
    name: 'page-crossing',
    what: 'a loop over two pages, and an instruction in both',
    at: 0xff0,
    entry: 0xff0,
    // biome-ignore format: a listing
    listing: [
      ['start: add rax, 1',   '48 83 c0 01'],
      ['add rbx, rax',        '48 01 c3'],
      ['add rcx, rbx',        '48 01 d9'],
      ['add rdx, 0x12345678', '48 81 c2 78 56 34 12'],
      ['add rsi, rdx',        '48 01 d6'],
      ['jmp start',           'eb ea'],
    ],
  },
  {
    name: 'x87',
    what: 'a sum, by helpers',
    at: 0x0,
    entry: 0x0,
    // biome-ignore format: a listing
    listing: [
      ['start: fld1',           'd9 e8'],
      ['fadd qword [0x200000]', 'dc 04 25 00 00 20 00'],
      ['fstp qword [0x200008]', 'dd 1c 25 08 00 20 00'],
      ['jmp start',             'eb ee'],
    ],
  },
  {
    name: 'exact',
    what: 'as for finding a difference, with a look at the budget at each instruction',
    at: 0x0,
    entry: 0x5,
    exact: true,
    // biome-ignore format: a listing
    listing: [
      ['start: mov ecx, 1000', 'b9 e8 03 00 00'],
      ['again: add rax, rcx',  '48 01 c8'],
      ['dec ecx',              'ff c9'],
      ['jnz again',            '75 f9'],
      ['jmp start',            'eb f2'],
    ],
  },
];
