/**
 * What the test kernel (guest/kernel/) must see, and the section of the manuals that says so. A table.
 * SDM: Intel 64 and IA-32 Architectures Software Developer's Manual, sections by their titles, because the numbers move;
 * APM: AMD64 Architecture Programmer's Manual. Where the two differ, the APM holds: the profile is AuthenticAMD.
 * The values are those of one line of output; guest/kernel/macros.inc says how it is written.
 */

export interface Expectation {
  /** Name of a line. */
  readonly name: string;
  readonly values: string;
  readonly section: string;
  /** The feature may be missing: then the line says `absent`. */
  readonly optional?: true;
}

interface Group {
  readonly section: string;
  readonly values: Readonly<Record<string, string>>;
}

const GROUPS: readonly Group[] = [
  {
    section: 'SDM vol. 2, MOV, POP and LDS/LES/LFS/LGS/LSS, protected mode exceptions; vol. 3, "Segment Descriptors"',
    values: {
      'seg.load.null': 'ok ok GP(0)+0',
      'seg.load.beyond-gdt': 'GP(fff8)+0 GP(fff8)+0 GP(a0)+0',
      'seg.load.ldt-null': 'GP(c)+0',
      'seg.load.not-present': 'NP(80)+0 SS(80)+0',
      'seg.load.execute-only': 'GP(80)+0 GP(80)+0',
      'seg.load.readable-code': 'ok GP(8)+0',
      'seg.load.system': 'GP(50)+0 GP(50)+0',
      'seg.load.rpl': 'GP(10)+0 GP(10)+0 ok GP(20)+0',
      'seg.load.read-only-stack': 'ok GP(80)+0',
      'seg.load.ldt': 'ok GP(1004)+0 cf9300',
      'seg.load.pop-unchanged': 'GP(fff8)+0 203ffc 0',
      'seg.load.les': 'GP(fff8)+0 55 ok 12345678',
    },
  },
  {
    section: 'SDM vol. 3, "Null Segment Selector Checking"',
    values: {
      'seg.null.access': 'GP(0)+0 GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Limit Checking"',
    values: {
      'seg.limit.byte-granular': 'ok GP(0)+0 ok GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0',
      'seg.limit.page-granular': 'ok GP(0)+0',
      'seg.limit.expand-down-32': 'GP(0)+0 ok ok GP(0)+0',
      'seg.limit.expand-down-16': 'ok GP(0)+0 GP(0)+0 GP(0)+0',
      'seg.limit.stack': 'SS(0)+0 ok ok SS(0)+0',
      'seg.limit.string': 'GP(0)+0 10 10',
    },
  },
  {
    section: 'SDM vol. 3, "Type Checking"',
    values: {
      'seg.type.read-only': 'ok GP(0)+0 GP(0)+0',
      'seg.type.code': 'ok GP(0)+0 ok GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 2, MOV, POP and LDS/LES/LFS/LGS/LSS, protected mode exceptions; vol. 3, "Segment Descriptors"',
    values: {
      'seg.accessed': 'cf9200 cf9200 cf9300',
    },
  },
  {
    section: 'SDM vol. 2, LAR, LSL, VERR/VERW, ARPL',
    values: {
      'seg.lar-lsl': '1 c01300 1 2345fff 1 409300 1 2345 1 c09300 1 12fff 0 5555 0 5555 1 8c00 0 5555 1 8b00 1 67',
      'seg.verr-verw': '101 1 0 1 101 0',
      'seg.lar-user': 'ok 100',
      'seg.arpl': '13 1',
    },
  },
  {
    section: 'SDM vol. 2, JMP, "Operation", far jumps; vol. 3, "Accessing Conforming Code Segments"',
    values: {
      'seg.jmp-far': 'GP(0)+0 GP(10)+0 GP(fff8)+0 NP(80)+0 GP(80)+0 GP(80)+0 GP(0)+0 ok 80',
      'seg.conforming-user': 'GP(0)+b 83',
    },
  },
  {
    section: 'SDM vol. 2, RET, "Operation", returns to the same and to an outer privilege level',
    values: {
      'seg.retf': 'GP(0)+0 GP(10)+0 GP(8)+0 ok 1b 23 20a000 GP(0)+0',
      'seg.retf.nulls-segments': 'ok 0 23',
    },
  },
  {
    section: 'SDM vol. 2, IRET, "Operation"',
    values: {
      'seg.iret': 'GP(0)+0 GP(10)+0 GP(20)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Privileged Instructions"; vol. 2, LTR, LLDT, SMSW',
    values: {
      'seg.lgdt-user':
        'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 ok',
      'seg.ltr': 'GP(50)+0 GP(0)+0 GP(10)+0 NP(80)+0 GP(c)+0 GP(10)+0 NP(80)+0',
    },
  },
  {
    section: 'SDM vol. 2, JMP, "Operation", far jumps; vol. 3, "Accessing Conforming Code Segments"',
    values: {
      'seg.code16': '11113333 2',
    },
  },
  {
    section: 'SDM vol. 3, "Accessing a Code Segment Through a Call Gate", "Stack Switching"',
    values: {
      'gate.call.inner-ring': 'ok 8 2222 10 207fe8 20a000 1b',
      'gate.call.same-ring': 'ok 203ff4',
      'gate.call.conforming': 'ok 8b',
      'gate.call.fault': 'GP(80)+0 NP(80)+0 GP(0)+0 GP(10)+0 NP(88)+0 GP(0)+0 GP(8)+0',
      'gate.call.16-bit': '8 4',
    },
  },
  {
    section: 'SDM vol. 2, INT n, "Operation"; vol. 3, "Exception- and Interrupt-Handler Procedures"',
    values: {
      'gate.int.user': 'V31+2 1b 20a000 23 207fe4',
      'gate.int.dpl': 'GP(192)+0 GP(72)+0 BP+1 OF+1',
      'gate.int.not-present': 'NP(192)+0',
      'gate.int.beyond-idt': 'GP(18a)+0',
      'gate.int.bad-target': 'GP(10)+0 GP(0)+0 GP(18)+0 GP(192)+0',
      'gate.int.flags': '0 4202 200 4202',
      'gate.int.bad-ring0-stack': 'ok a 0 ok a 10 ok a 8 ok c 80',
    },
  },
  {
    section: 'SDM vol. 1, "I/O Privilege Level", "I/O Permission Bit Map"; vol. 2, POPF, CLI',
    values: {
      'ring3.iopl0': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 ok 2',
      'ring3.iopl3': 'ok ok ok 3202',
      'ring3.io-bitmap': 'ok GP(0)+0 GP(0)+0 ok GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Interrupt 17, Alignment Check Exception (#AC)", table of alignment requirements',
    values: {
      'ring3.align-check': 'AC(0)+0 AC(0)+0 ok ok AC(0)+0 AC(0)+0 ok ok ok',
    },
  },
  {
    section: 'SDM vol. 2, BOUND, INTO, DIV, IDIV, AAM',
    values: {
      'exception.bound': 'ok ok BR+0 BR+0',
      'exception.into': 'OF+1 ok',
      'exception.div16': 'DE+0 DE+0 DE+0 DE+0',
    },
  },
  {
    section: 'SDM vol. 2, SYSENTER, SYSEXIT',
    values: {
      'sysenter.none': 'GP(0)+0 GP(0)+0',
      sysenter: 'GP(0)+0 ok 80010 2 207f00 1b0023 20a000',
    },
  },
  {
    section: 'SDM vol. 3, chapter "Task Management"',
    values: {
      'task.jmp': 'ok 1234 2 bb 898b 8 8b89 0 cc 8',
      'task.call': 'ok 1234 4002 8b8b 8b89 50 2 46',
      'task.gate': 'ok 8b89',
      'task.interrupt': 'ok 4002 8b8b 8b89',
      'task.exception': 'ok fff8 20fffc 0',
      'task.fault': 'GP(50)+0 NP(60)+0 TS(60)+0 GP(60)+0 GP(10)+0 GP(60)+0',
      'task.iret-link': 'TS(10)+0 TS(60)+0',
      'task.new-task-fault': 'TS(fff8)+0 60 NP(80)+0 60 TS(50)+0 60',
      'task.trap': 'DB+0 8000',
    },
  },
  {
    section: 'SDM vol. 3, chapter "8086 Emulation", virtual-8086 mode',
    values: {
      'v86.frame': 'UD+1 0 30002 7000 0 207fd4 0 33 44 0 0',
      'v86.iopl0': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 BP+1 UD+1',
      'v86.iopl3': 'UD+1 UD+1 V31+2 GP(192)+0 BP+1',
      'v86.privileged': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 UD+3',
      'v86.not-recognized': 'UD+0 UD+0 UD+0 UD+0 UD+0',
      'v86.io': 'UD+2 UD+2 GP(0)+0',
      'v86.limits': 'GP(0)+0 GP(0)+0 UD+3 SS(0)+0 GP(0)+0 UD+6',
      'v86.addresses': 'UD+a 11223344 UD+a 1badb002',
      'v86.iret': 'UD+36 33002 0',
      'v86.vme': 'ok UD+1 UD+1 30002 UD+1 b0002 GP(0)+0 UD+6 3202 UD+6 3202 UD+6 3002 V31+2 GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 3, chapter "8086 Emulation", real-address mode',
    values: {
      'real.int': 'ok 4202 4002 0',
      'real.int-frame': 'V31+2 6ffa',
      'real.exceptions': 'DE+0 BP+1 UD+0 UD+0 UD+0 BR+0 OF+1',
      'real.limits': 'GP(0)+0 GP(0)+0 GP(0)+0 SS(0)+0',
      'real.push-wrap': 'ok fffe 1234',
      'real.idt-limit': 'GP(0)+0',
      'real.idt-base': 'ok 46',
      'real.high-memory': 'ok 1badb002',
      'real.unreal': 'ok 1badb002 ok 1badb002',
      'real.lmsw': 'ok 0 1',
      'real.far-call': 'ok 10',
      'real.string-wrap': 'ok 0 2 aaaa aaaa',
      'real.single-step': 'DB+1 102',
    },
  },
  {
    section: 'SDM vol. 3, "32-Bit Paging", "Access Rights", "Page-Fault Exceptions", "Accessed and Dirty Flags"',
    values: {
      'page2.not-present':
        'PF(0)+0@80000000 PF(2)+0@80000000 PF(4)+0@80000000 PF(6)+0@80000000 PF(0)+0@80000000 PF(4)+0@80000000',
      'page2.supervisor': 'ok PF(5)+0@80000000 PF(7)+0@80000000 PF(5)+0@80000000 ok',
      'page2.read-only': 'ok PF(7)+0@80000000 ok PF(3)+0@80000004',
      'page2.directory-rights': 'PF(5)+0@80000000 PF(7)+0@80000000 PF(3)+0@80000004 PF(0)+0@80000000',
      'page2.accessed-dirty': '226027 222027 226067 222027',
      'page2.crossing': 'PF(0)+0@80001000 PF(2)+0@80001000 55555555',
      'page2.large': 'ok 1badb002 a7 PF(9)+0@80500000 PF(d)+0@80500000',
      'page2.smep': 'ok PF(11)+0@80000000 ok PF(10)+0@80000000',
      'page2.wild-directory': '221000',
    },
  },
  {
    section: 'SDM vol. 3, "PAE Paging", "Page-Fault Exceptions"',
    values: {
      'pae.rights': 'PF(0)+0@80000000 PF(6)+0@80000000 PF(7)+0@80000000 PF(3)+0@80000000 ok',
      'pae.nx': 'PF(9)+0@80000000 PF(9)+0@80000000 ok PF(11)+0@80000000 PF(15)+0@80000000 ok PF(10)+0@80000000',
      'pae.reserved': 'PF(9)+0@80000000 PF(b)+0@80000000 PF(d)+0@80000000',
      'pae.large': 'ok 1badb002 PF(9)+0@80500000',
      'pae.accessed-dirty': '226027 21e027 226067 21e027',
    },
  },
  {
    section: 'SDM vol. 2, MOV control registers; vol. 3, "Initializing IA-32e Mode"',
    values: {
      'long.enable': 'GP(0)+0 GP(0)+0 d01 8',
    },
  },
  {
    section:
      'SDM vol. 3, "4-Level Paging and 5-Level Paging", "Access Rights", "Page-Fault Exceptions", "Accessed and Dirty Flags"',
    values: {
      'page4.not-present':
        'PF(0)+0@80000000 PF(2)+0@80000008 PF(0)+0@80000000 PF(0)+0@80000003 PF(4)+0@7ffff000 PF(6)+0@80000000 PF(4)+0@80000000 PF(10)+0@80000000 PF(14)+0@80000000',
      'page4.supervisor': 'ok PF(5)+0@80000000 PF(7)+0@80000000 ok PF(15)+0@80000000',
      'page4.read-only': 'PF(3)+0@80000008 PF(7)+0@80000000 PF(7)+0@80000000 ok',
      'page4.nx': 'ok PF(11)+0@80000000 PF(15)+0@80000000 PF(11)+0@80000000 ok PF(15)+0@80000000',
      'page4.nxe-off': 'PF(9)+0@80000000 PF(9)+0@80000000',
      'page4.reserved':
        'PF(9)+0@80000000 PF(b)+0@80000000 PF(d)+0@80000000 PF(19)+0@80000000 ok PF(9)+0@80400000 ok 1badb002 PF(9)+0@100100000 ok 1badb002 a7 PF(9)+0@8000000000 PF(0)+0@8000000000',
      'page4.upper-rights': 'PF(5)+0@80000000 PF(3)+0@80000008 PF(7)+0@80000000 PF(3)+0@80000008',
      'page4.accessed-dirty': '226007 226027 21e027 21c027 226067 21e027 PF(3)+0@80000008 226005 226067 a7 e7',
      'page4.crossing':
        'PF(0)+0@80001000 PF(2)+0@80001000 ffffffffffffffff PF(2)+0@80001000 PF(0)+0@80000ffc PF(3)+0@80001000 ffffffffffffffff',
      'page4.crossing-fetch': 'PF(10)+0@80001000 PF(11)+0@80001000 ok 12345678',
      'page4.string': 'PF(2)+0@80001000 18 80001000 PF(2)+0@80001000 2 80001000 PF(2)+0@80000ffc 2 80000ffc',
      'page4.stack': 'PF(2)+0@80000000 0 PF(2)+0@80000000 0',
      'page4.smep': 'PF(11)+0@80000000 ok ok ok ok',
    },
  },
  {
    section: 'SDM vol. 3, "Determination of Access Rights": implicit supervisor-mode accesses',
    values: {
      'page4.smap': 'ok ok PF(1)+0@80000000 PF(3)+0@80000008 ok ok ok PF(1)+0@80000000 ok ok UD+0 PF(1)+0@80000008',
    },
  },
  {
    section:
      'SDM vol. 3, "4-Level Paging and 5-Level Paging", "Access Rights", "Page-Fault Exceptions", "Accessed and Dirty Flags"',
    values: {
      'page4.invlpg': '2222 1111 2222 1111',
    },
  },
  {
    section: 'SDM vol. 3, "Process-Context Identifiers (PCIDs)"; vol. 2, INVPCID',
    values: {
      'page4.pcid': 'GP(0)+0 ok ok ok 218005 GP(0)+0 GP(0)+0 ok ok ok ok GP(0)+0 GP(0)+0 GP(0)+0 ok GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 1, "Canonical Addressing"; vol. 2, 64-bit mode exceptions of each instruction',
    values: {
      'canonical.data': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 ok ok ok GP(0)+0 GP(0)+0',
      'canonical.stack': 'SS(0)+0 GP(0)+0 SS(0)+0 SS(0)+0 SS(0)+0',
      'canonical.branch': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0',
      'canonical.msr': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0',
      'canonical.tables': 'GP(0)+0 GP(0)+0 GP(68)+0 GP(68)+0',
      'canonical.gate': 'GP(0)+0',
      'canonical.fsgsbase': 'UD+0 GP(0)+0 GP(0)+0 ok ffff800012345678 ffffffff ok 4321',
    },
  },
  {
    section: 'SDM vol. 2, MOV control registers; vol. 3, "Control Registers"',
    values: {
      'reserved.cr0': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 ok 0',
      'reserved.cr3': 'GP(0)+0 GP(0)+0 GP(0)+0',
      'reserved.cr4': 'GP(0)+0 GP(0)+0 GP(0)+0',
      'reserved.cr8': 'ok GP(0)+0 ok f GP(0)+0',
      'reserved.no-register': 'UD+0 UD+0 UD+0',
    },
  },
  {
    section: 'SDM vol. 3, "Debug Registers"; vol. 2, MOV debug registers',
    values: {
      'reserved.dr': 'GP(0)+0 GP(0)+0 ok ffff0ff0 ffff07ff ok UD+0 UD+0',
    },
  },
  {
    section: 'SDM vol. 2, WRMSR; AMD64 APM vol. 2, "Extended Feature Enable Register (EFER)"',
    values: {
      'reserved.efer': 'GP(0)+0 GP(0)+0 GP(0)+0 d01',
      'reserved.msr': 'GP(0)+0 GP(0)+0 GP(0)+0 ok GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Exception and Interrupt Handling in 64-Bit Mode", "Error Code"',
    values: {
      'exception.divide': 'DE+0 DE+0 DE+0 DE+0',
      'exception.frame': 'UD+0 40 30 0 10002 UD+0 38 UD+0 2b 23 10003 4020a000 207fc8 0',
      'exception.breakpoint': 'BP+1 BP+2 BP+1 GP(a)+0',
    },
  },
  {
    section: 'SDM vol. 2, LOCK, UD, opcode maps; vol. 3, "Interrupt 6, Invalid Opcode Exception"',
    values: {
      'exception.undefined': 'UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0 UD+0',
      'exception.lock': 'UD+0 UD+0 UD+0 UD+0 ok',
      'exception.length': 'ok GP(0)+0',
    },
  },
  {
    section:
      'SDM vol. 3, "Interrupt 7, Device Not Available", "Interrupt 16, x87 FPU Floating-Point Error"; vol. 1, "x87 FPU Exception Handling"',
    values: {
      'exception.no-device': 'NM+0 NM+0 ok NM+0 NM+0 UD+0 ok UD+0',
      'exception.x87': 'ok MF+0 ok b084 MF+0 ok',
    },
  },
  {
    section: 'SDM vol. 3, "Interrupt 19, SIMD Floating-Point Exception"',
    values: {
      'exception.simd': 'XM+0 1d84 3f800000 UD+0 GP(0)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Interrupt 17, Alignment Check Exception (#AC)"; vol. 2, exceptions type 1 and 4',
    values: {
      'exception.alignment': 'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 AC(0)+0 AC(0)+0 ok AC(0)+0 AC(0)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Exception and Interrupt Handling in 64-Bit Mode", "Error Code"',
    values: {
      'exception.selectors':
        'GP(fff8)+0 NP(80)+0 SS(80)+0 GP(10)+0 ok ok GP(30)+0 ok GP(0)+0 GP(50)+0 GP(50)+0 GP(80)+0',
      'exception.tss': 'SS(0)+0 GP(fff8)+0',
      'exception.gate':
        'NP(192)+0 GP(192)+0 GP(0)+0 GP(10)+0 GP(8)+0 GP(fff8)+0 GP(28)+0 GP(192)+0 GP(192)+0 GP(18a)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Interrupt 8, Double Fault Exception", "Error Code"',
    values: {
      'exception.double-fault': 'DF(0)+0 20bfc8 DF(0)+0 NP(33)+0 DF(0)+0 80001020 PF(2)+0@80000ff8 80001020',
    },
  },
  {
    section: 'SDM vol. 3, "Exception and Interrupt Handling in 64-Bit Mode", "Error Code"',
    values: {
      'exception.ist': 'UD+0 20bfc8 UD+0 20bfc8',
    },
  },
  {
    section:
      'SDM vol. 3, chapter "Debug, Branch Profile, TSC": "Debug Exceptions", "Single-Stepping", "Masking Debug Exceptions"',
    values: {
      'debug.single-step': 'DB+1 102 4000 DB+1 2',
      'debug.single-step-string': 'DB+0 2 10102',
      'debug.single-step-ss': 'DB+3',
      'debug.single-step-int': 'DB+3 0',
      'debug.execute': 'DB+0 46 1 ok 2 0',
      'debug.execute-middle': 'ok 0',
      'debug.write': 'ok DB+2 1 DB+4 ok ok DB+3 DB+4 DB+2 ok 1',
      'debug.access': 'DB+3 ok DB+3 DB+4 DB+1 1',
      'debug.unaligned-length2': 'DB+3 1',
      'debug.string': 'DB+0 5 1',
      'debug.io': 'DB+2 1 ok DB+3 1',
      'debug.user': 'DB+8 1',
      'debug.disabled': 'ok 0',
      'debug.general-detect': 'DB+0 400 2000',
      'debug.icebp': 'DB+1 0',
      'debug.four': 'DB+a 5',
      'debug.suppressed-ss': 'DB+3 1',
    },
  },
  {
    section: 'SDM vol. 2, of each instruction; vol. 3, "Privileged Instructions"',
    values: {
      'system.privileged':
        'GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 ok ok ok',
      'system.rdtsc': 'ok GP(0)+0 GP(0)+0 ok GP(0)+0',
      'system.popf-user': 'ok 2 ok 3202',
      'system.popf': '203ed7 2 202002',
      'system.io-bitmap': 'ok GP(0)+0 GP(0)+0 GP(0)+0 ok GP(0)+0 GP(0)+0 GP(0)+0 ok ok',
      'system.swapgs': 'ffff8000 2222 1111',
      'system.segment-base': '6666 7777 6666 227000 ok',
      'system.tables': '9f 214000 fff 50 0 8b 0',
      'system.lmsw': '11',
      'system.xsetbv': 'UD+0 ok GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 ok',
    },
  },
  {
    section: 'AMD64 APM vol. 3, SYSCALL, SYSRET',
    values: {
      'syscall.disabled': 'UD+0 UD+0',
      'syscall.long': 'ok 4020a000 0 207 30 38 6 2b 23 207',
      'syscall.compatibility': 'ok 0 2',
      'sysret.compatibility': 'ok 1a 23',
    },
  },
  {
    section: 'SDM vol. 2, IRET, "Operation", IA-32e mode',
    values: {
      'iret.same-ring': 'UD+0 4d7 202000 10',
      'iret.null-ss': 'ok 0 GP(0)+0',
      'iret.nested-task': 'GP(0)+0',
      'iret.faults': 'GP(0)+0 GP(10)+0 NP(80)+0 GP(80)+0 GP(10)+0 SS(80)+0',
      'iret.32': 'ok 0',
      'iret.rf-vm': 'ok 2',
    },
  },
  {
    section: 'SDM vol. 3, "IA-32e Mode": compatibility mode, call gates; vol. 2, JMP',
    values: {
      'compatibility.code': 'UD+0 4 0 1b 23 40209ffc 1b',
      'compatibility.limits': 'GP(0)+0 6666',
      'compatibility.null-data': 'GP(0)+0',
      'compatibility.wrap': 'PF(4)+0@7ffff000',
      'compatibility.call-gate': 'ok 30 1b 23 ok 30 2b GP(80)+0',
      'compatibility.far-return': 'ok 8',
      'long.far-jump': 'ok GP(10)+0 GP(0)+0 GP(80)+0 GP(50)+0',
    },
  },
  {
    section: 'SDM vol. 3, "Handling Self- and Cross-Modifying Code"; APM vol. 2, "Self-Modifying Code"',
    values: {
      'code.next-instruction': '22',
      'code.loop': '100a',
      'code.hot-then-patched': '2222',
      'code.string-over-itself': '0',
      'code.write-ahead-same-page': '6 3',
      'code.alias': '11 22 33',
      'code.crossing': '11111111 22111111 22111133 44441133',
      'code.remapped': '11 22 11',
      'code.rights-later': 'PF(11)+0@80000000 ok 11',
      'code.same-bytes-other-mode': 'ok ok ok 4',
    },
  },
  {
    section: 'SDM vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)"',
    values: {
      'apic.registers': '0 10 1ff fee00900',
      'apic.self-ipi': '1 0 0 41 40 0',
      'apic.priority-order': '62615141',
      'apic.one-request-per-vector': '1',
      'apic.nesting': '4561004f35',
      'apic.tpr': '5 50 61 40 6151 615141',
      'apic.eoi-without-service': '0',
      'apic.illegal-vector': '20',
      'apic.software-disabled': '10046 10046 0',
    },
  },
  {
    section: 'SDM vol. 2, STI, POPF, HLT; vol. 3, "Masking Exceptions and Interrupts When Switching Stacks"',
    values: {
      'shadow.sti': '2 0 1',
      'shadow.popf': '1',
      'shadow.sti-with-if': '4',
      'hlt.wake': '2 46',
      'hlt.pending': '41',
    },
  },
  {
    section: 'SDM vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)"',
    values: {
      'timer.one-shot': '0 1',
      'timer.periodic': '0 5',
      'timer.masked': '0 0',
      'timer.stopped': '1 0',
      'interrupt.user': 'ok 77 42',
      'interrupt.repeated-string': '0 0 1',
    },
  },
  {
    section: 'SDM vol. 3, "Handling Multiple NMIs"',
    values: {
      'nmi.masked-if': '1ee02 2',
    },
  },
  {
    section: 'SDM vol. 3, "Extended XAPIC (x2APIC)"',
    values: {
      x2apic: 'GP(0)+0 ok 0 1 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0 GP(0)+0',
      'x2apic.self-ipi': '1000100 5848 5',
      'x2apic.leave': 'GP(0)+0 ok ok ff',
    },
  },
  {
    section: 'SDM vol. 3, "Multiple-Processor (MP) Initialization", "Locked Atomic Operations", "Cross-Modifying Code"',
    values: {
      'processors.start': '1 1 800 60000010',
      'processors.call': 'abcd',
      'processors.ping-pong': '1f5',
      'processors.locked': '9c40 9c40 1d4c0 9c40 9c40 9c40 0 0 9c40',
      'processors.message': '0',
      'processors.changed-code': '0',
      'processors.changed-page': '1111 2222',
      'processors.nmi-wakes': '1',
      'processors.restart': '1',
    },
  },
  {
    section: 'the kernel came to its end',
    values: {
      end: '',
    },
  },
];

const OPTIONAL: ReadonlySet<string> = new Set(['v86.vme', 'page4.pcid', 'x2apic', 'x2apic.self-ipi', 'x2apic.leave']);

export const EXPECTATIONS: readonly Expectation[] = GROUPS.flatMap(({ section, values }) =>
  Object.entries(values).map(([name, text]) => ({
    name,
    values: text,
    section,
    ...(OPTIONAL.has(name) ? { optional: true as const } : {}),
  })),
);
