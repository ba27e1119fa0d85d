/**
 * The filter of a worker's system calls (seccomp(2), x86-64): what no worker has any business with is refused. What is not
 * named is allowed; a list of what Node needs would be another with each of its versions. BPF as in <linux/bpf_common.h>.
 */
import { Memory } from './script.ts';

const AUDIT_ARCH_X86_64 = 0xc000_003e;
const X32_BIT = 0x4000_0000;
const [EPERM, ENOSYS] = [1, 38] as const;
const ALLOW = 0x7fff_0000;
const ERRNO = 0x0005_0000;
const Op = { LOAD: 0x20, EQUAL: 0x15, AT_LEAST: 0x35, ANY_BIT: 0x45, RETURN: 0x06 } as const;
/** Offsets in struct seccomp_data; an argument's lower half comes first. */
const [NUMBER, ARCHITECTURE, ARGUMENTS] = [0, 4, 16] as const;

/** By what they would be wanted for. */
export const DENIED: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'other processes': {
    ptrace: 101,
    process_vm_readv: 310,
    process_vm_writev: 311,
    kcmp: 312,
    pidfd_getfd: 438,
    process_madvise: 440,
    process_mrelease: 448,
  },
  'mounts and roots': {
    chroot: 161,
    pivot_root: 155,
    mount: 165,
    umount2: 166,
    open_tree: 428,
    move_mount: 429,
    fsopen: 430,
    fsconfig: 431,
    fsmount: 432,
    fspick: 433,
    mount_setattr: 442,
    name_to_handle_at: 303,
    open_by_handle_at: 304,
    quotactl: 179,
    quotactl_fd: 443,
    swapon: 167,
    swapoff: 168,
    fanotify_init: 300,
  },
  namespaces: { unshare: 272, setns: 308 },
  'programs and modules of the kernel': {
    bpf: 321,
    perf_event_open: 298,
    init_module: 175,
    finit_module: 313,
    delete_module: 176,
    kexec_load: 246,
    kexec_file_load: 320,
    io_uring_setup: 425,
    io_uring_enter: 426,
    io_uring_register: 427,
    userfaultfd: 323,
    syslog: 103,
    acct: 163,
  },
  keys: { add_key: 248, request_key: 249, keyctl: 250 },
  'the machine': {
    reboot: 169,
    settimeofday: 164,
    clock_settime: 227,
    clock_adjtime: 305,
    adjtimex: 159,
    iopl: 172,
    ioperm: 173,
    modify_ldt: 154,
    personality: 135,
    sethostname: 170,
    setdomainname: 171,
    vhangup: 153,
  },
  'other programs': { execveat: 322, uselib: 134 },
};

const [IOCTL, CLONE, EXECVE, CLONE3] = [16, 56, 59, 435] as const;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NEW_NAMESPACES = 0x7e02_0000;
/** Input put into a terminal, which the process shares with its user: TIOCSTI, TIOCLINUX. */
const TERMINAL_INPUT = [0x5412, 0x541c] as const;

type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, value: number];

/** @param program The only path that may be executed, by its address: the launcher's own last call. */
export function filterOf(program: number): Uint8Array {
  const code: Instruction[] = [];
  const load = (offset: number): void => void code.push([Op.LOAD, 0, 0, offset]);
  /** Goes on behind the next `skip` instructions unless it holds. */
  const unless = (op: number, value: number, skip: number): void => void code.push([op, 0, skip, value]);
  const give = (action: number): void => void code.push([Op.RETURN, 0, 0, action]);
  const refuse = (error: number): void => give(ERRNO | error);
  load(ARCHITECTURE);
  code.push([Op.EQUAL, 1, 0, AUDIT_ARCH_X86_64]);
  refuse(EPERM);
  load(NUMBER);
  unless(Op.AT_LEAST, X32_BIT, 1);
  refuse(EPERM);
  for (const group of Object.values(DENIED))
    for (const number of Object.values(group)) {
      unless(Op.EQUAL, number, 1);
      refuse(EPERM);
    }
  // Its flags lie in memory, where a filter cannot look: the C library goes on with clone.
  unless(Op.EQUAL, CLONE3, 1);
  refuse(ENOSYS);
  unless(Op.EQUAL, CLONE, 4);
  load(ARGUMENTS);
  unless(Op.ANY_BIT, NEW_NAMESPACES, 1);
  refuse(EPERM);
  give(ALLOW);
  unless(Op.EQUAL, IOCTL, 6);
  load(ARGUMENTS + 8);
  for (const request of TERMINAL_INPUT) {
    unless(Op.EQUAL, request, 1);
    refuse(EPERM);
  }
  give(ALLOW);
  unless(Op.EQUAL, EXECVE, 6);
  load(ARGUMENTS + 4);
  unless(Op.EQUAL, 0, 3);
  load(ARGUMENTS);
  unless(Op.EQUAL, program, 1);
  give(ALLOW);
  refuse(EPERM);
  give(ALLOW);
  const bytes = new Uint8Array(code.length * 8);
  const view = new DataView(bytes.buffer);
  code.forEach(([op, whenTrue, whenFalse, value], i) => {
    view.setUint16(i * 8, op, true);
    view.setUint8(i * 8 + 2, whenTrue);
    view.setUint8(i * 8 + 3, whenFalse);
    view.setUint32(i * 8 + 4, value, true);
  });
  return bytes;
}

/** struct sock_fprog, of a filter. */
export function filterProgram(filter: Memory): Memory {
  const header = new Uint8Array(16);
  new DataView(header.buffer).setUint16(0, filter.bytes.length / 8, true);
  return new Memory(header, [[8, filter]]);
}

export const DENIED_COUNT = Object.values(DENIED).reduce((sum, group) => sum + Object.keys(group).length, 0);
