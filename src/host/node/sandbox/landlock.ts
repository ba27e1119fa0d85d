/** File-system rules that an unprivileged process sets itself (landlock(7), Linux 5.13 and later): what no rule allows is refused. */
import { Call, Memory, type Script, textMemory } from './script.ts';

const SYS = { openat: 257, dup2: 33, close: 3, createRuleset: 444, addRule: 445, restrictSelf: 446 } as const;
export const CREATE_RULESET_VERSION = 1;
const PATH_BENEATH = 1;
const [AT_FDCWD, O_PATH, O_CLOEXEC] = [-100, 0x20_0000, 0x8_0000] as const;
/** The ruleset's descriptor while the script runs. */
const RULESET = 100;

const Right = {
  execute: 1 << 0,
  writeFile: 1 << 1,
  readFile: 1 << 2,
  readFolder: 1 << 3,
  removeFolder: 1 << 4,
  removeFile: 1 << 5,
  makeCharacter: 1 << 6,
  makeFolder: 1 << 7,
  makeFile: 1 << 8,
  makeSocket: 1 << 9,
  makePipe: 1 << 10,
  makeBlock: 1 << 11,
  makeLink: 1 << 12,
  /** From version 2, 3 and 5 on. */
  refer: 1 << 13,
  truncate: 1 << 14,
  deviceControl: 1 << 15,
} as const;
const SCOPES = { abstractSockets: 1 << 0, signals: 1 << 1 } as const;

const READ = Right.readFile;
const WRITE = READ | Right.writeFile | Right.truncate;
const RIGHTS = {
  execute: READ | Right.execute,
  readFile: READ,
  writeFile: WRITE,
  device: WRITE | Right.deviceControl,
  readFolder: READ | Right.readFolder,
  writeFolder:
    WRITE |
    Right.readFolder |
    Right.removeFolder |
    Right.removeFile |
    Right.makeFolder |
    Right.makeFile |
    Right.makeSocket |
    Right.refer,
} as const;
export type Access = keyof typeof RIGHTS;

export interface Place {
  readonly path: string;
  readonly access: Access;
}

/** All rights that a version knows (landlock(7)). */
function handled(version: number): number {
  const first = Right.refer - 1;
  return (
    first |
    (version >= 2 ? Right.refer : 0) |
    (version >= 3 ? Right.truncate : 0) |
    (version >= 5 ? Right.deviceControl : 0)
  );
}

export interface LandlockCalls {
  readonly create: Call;
  readonly restrict: Call;
  readonly rules: readonly { readonly place: Place; readonly add: Call }[];
}

/** @param version Of the kernel's Landlock, from 1 on. Places that are not there get no rule. */
export function addLandlock(script: Script, version: number, places: readonly Place[]): LandlockCalls {
  // struct landlock_ruleset_attr: file-system rights, network rights (version 4), scopes (version 6).
  const attributes = new Uint8Array(version >= 6 ? 24 : version >= 4 ? 16 : 8);
  const view = new DataView(attributes.buffer);
  view.setBigUint64(0, BigInt(handled(version)), true);
  if (version >= 6) view.setBigUint64(16, BigInt(SCOPES.abstractSockets | SCOPES.signals), true);
  const create = script.call(SYS.createRuleset, new Memory(attributes), attributes.length, 0);
  const move = script.call(SYS.dup2, 0, RULESET);
  create.target = { call: move, argument: 0 };
  const rules = places.map((place) => {
    const open = script.call(SYS.openat, AT_FDCWD, textMemory(place.path), O_PATH | O_CLOEXEC, 0);
    // struct landlock_path_beneath_attr: rights, descriptor (an i32; the result of the call before is put there).
    const rule = new Memory(new Uint8Array(16));
    new DataView(rule.bytes.buffer).setBigUint64(0, BigInt(RIGHTS[place.access] & handled(version)), true);
    open.target = { memory: rule, offset: 8 };
    const add = script.call(SYS.addRule, RULESET, PATH_BENEATH, rule, 0);
    return { place, add };
  });
  const restrict = script.call(SYS.restrictSelf, RULESET, 0);
  script.call(SYS.close, RULESET);
  return { create, restrict, rules };
}

/** A script's call that asks for the version. */
export function versionCall(): Call {
  return new Call(SYS.createRuleset, [0, 0, CREATE_RULESET_VERSION]);
}
