/** The inspect tree of a partition: registers, the page walk of the instruction pointer, interrupt controllers, devices. */
import type { InspectNode } from '../contracts/partition.ts';
import { readFlags, type VpView } from '../hypervisor/vp/state.ts';
import type { Machine } from './machine.ts';
import { pageWalk } from './page-walk.ts';
import { engineCounters } from './stats.ts';

const GPR = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr', 'gdtr', 'idtr'];
const ACTIVITIES = ['running', 'halted', 'wait-for-SIPI', 'shutdown'];

export function inspectMachine(machine: Machine): InspectNode {
  return {
    time: machine.clock.now(),
    processors: Object.fromEntries(
      machine.vps.map((vp, i) => [i, { ...inspectProcessor(vp, machine), apic: machine.apics[i]!.inspect() }]),
    ),
    hyperv: machine.hyperv.inspect(),
    devices: machine.inspectDevices(),
  };
}

function inspectProcessor(vp: VpView, machine: Machine): InspectNode {
  return {
    activity: ACTIVITIES[vp.activity] ?? String(vp.activity),
    cpl: vp.cpl,
    retired: vp.retired.toString(),
    rip: vp.rip,
    rflags: BigInt(readFlags(vp)),
    ...Object.fromEntries(GPR.map((name, i) => [name, vp.gpr[i]!])),
    cr0: vp.cr0,
    cr2: vp.cr2,
    cr3: vp.cr3,
    cr4: vp.cr4,
    efer: vp.efer,
    segments: Object.fromEntries(
      SEGMENTS.map((name, i) => [
        name,
        {
          selector: BigInt(vp.segmentSelector[i]!),
          base: vp.segmentBase[i]!,
          limit: BigInt(vp.segmentLimit[i]!),
          attributes: BigInt(vp.segmentAttributes[i]!),
        },
      ]),
    ),
    engine: Object.fromEntries(Object.entries(engineCounters(vp)).map(([name, value]) => [name, value.toString()])),
    pageWalk: pageWalk(vp, machine.memory, BigInt.asUintN(64, (vp.rip + vp.codeBase) & vp.codeMask)),
  };
}
