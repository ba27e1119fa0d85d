/**
 * What VMMS and a worker process (VMWP) say to each other over the worker's Unix socket: lines of JSON. A request has an id
 * and gets one answer with it; the worker sends events unasked. Bytes are base64. Several may be connected at a time: VMMS,
 * and a connection for each console that is open.
 */
import type { Disk, Dvd, VmMetrics } from './api/vm.ts';
import type { ErrorCode } from './errors.ts';
import type { EngineChoice, KeyValuePool, StateSavingResult } from './partition.ts';
import type { PortAddress } from './switches.ts';

export const WORKER_PROTOCOL = 1;

/** Files in a worker's folder. */
export const WORKER_FILES = {
  spec: 'spec.json',
  socket: 'worker.sock',
  log: 'worker.log',
  /** Where it is handed files that it may not open itself. */
  files: 'files.sock',
  /** How it ended, written before it does. */
  exit: 'exit.json',
} as const;

/** What a worker is started with. */
export interface WorkerSpec {
  readonly protocol: typeof WORKER_PROTOCOL;
  readonly vm: string;
  readonly name: string;
  /** Of this run: a worker that says another is not the one that VMMS started. */
  readonly instance: string;
  readonly memory: number;
  readonly processors: number;
  readonly engine: EngineChoice;
  readonly kernel: string | null;
  readonly initrd: string | null;
  readonly append: string;
  readonly onReboot: 'restart' | 'stop';
  readonly disks: readonly Disk[];
  readonly dvds: readonly Dvd[];
  readonly nics: readonly WorkerNic[];
  /** Percent; bytes a second of all disks. Null: no limit. */
  readonly processorMaximum: number;
  readonly storageMaximum: number | null;
  /** A saved state to go on from. The worker stands still until it is told to resume. */
  readonly restore: string | null;
  /** It is as it was written: its memory is read when the guest touches it, and not compared with its checksums before. */
  readonly restoreUnread: boolean;
  readonly niceness: number;
}

/** An adapter, and the port of a switch that it is connected to; null: to none. */
export interface WorkerNic {
  readonly id: string;
  readonly mac: string;
  readonly port: PortAddress | null;
}

export type WorkerState = 'Starting' | 'Running' | 'Paused' | 'PausedCritical' | 'Stopped';

/** A stop reason as plain data. */
export interface WorkerExit {
  readonly kind: string;
  readonly message: string;
  readonly time: string;
  /** Of a user's error: the VM could not be started. */
  readonly code: ErrorCode | null;
}

export interface WorkerHello {
  readonly protocol: number;
  readonly vm: string;
  readonly instance: string;
  readonly pid: number;
  readonly state: WorkerState;
  /** Since the guest was started, or restored; null before. */
  readonly startedAt: string | null;
  readonly exit: WorkerExit | null;
  /** A file that a disk of the VM has no room in. */
  readonly full: string | null;
}

export interface WorkerMethods {
  hello: { params: undefined; result: WorkerHello };
  pause: { params: undefined; result: undefined };
  resume: { params: undefined; result: undefined };
  /**
   * Saving into a file, a step at a time (contracts/partition.ts: `StateSaving`): memory is copied while the guest runs, and
   * `saving` events say how far; of the paused VM the rest is put aside; when it runs on, that is written. The file is whole then, or
   * not there. Another `saveBegin`, or `saveCancel`, ends what is under way.
   */
  saveBegin: { params: { file: string }; result: undefined };
  saveTake: { params: undefined; result: undefined };
  saveFinish: { params: undefined; result: StateSavingResult };
  saveCancel: { params: undefined; result: undefined };
  /** The guest has agreed; `stopped` tells when it has done it. */
  shutdown: { params: { restart?: boolean; force?: boolean }; result: undefined };
  turnOff: { params: undefined; result: undefined };
  reset: { params: undefined; result: undefined };
  nmi: { params: undefined; result: undefined };
  metrics: { params: undefined; result: VmMetrics };
  inspect: { params: undefined; result: unknown };
  /** History first; then `console` events come on this connection. */
  attach: { params: { history: boolean }; result: undefined };
  write: { params: { data: string }; result: undefined };
  screenshot: { params: undefined; result: { png: string | null } };
  /** What has changed on the screen after a change; 0: all of it. */
  screenChanges: {
    params: { after: number };
    result:
      | { kind: 'blank' | 'same' }
      | {
          kind: 'changed';
          change: number;
          x: number;
          y: number;
          screenWidth: number;
          screenHeight: number;
          png: string;
        };
  };
  type: { params: { text: string }; result: { untyped: string } };
  key: { params: { code: string; down: boolean }; result: { taken: boolean } };
  mouse: { params: { x: number; y: number; buttons?: number; wheel?: number }; result: { taken: boolean } };
  integration: {
    params: undefined;
    result: {
      heartbeat: 'OK' | 'No Contact' | 'Lost Communication';
      keyboard: boolean;
      mouse: boolean;
      dynamicMemory: boolean;
      /** IP addresses: as the guest's daemon for data exchange says. */
      addresses: readonly string[];
    };
  };
  setTime: { params: undefined; result: undefined };
  freeze: { params: { frozen: boolean }; result: undefined };
  kvpList: { params: { pool: KeyValuePool }; result: Record<string, string> };
  kvpSet: { params: { pool: KeyValuePool; key: string; value: string }; result: undefined };
  kvpRemove: { params: { pool: KeyValuePool; key: string }; result: { there: boolean } };
  copyFile: {
    params: { path: string; file: string; overwrite: boolean; createFolders: boolean };
    result: undefined;
  };
  /** A port of the guest's sockets. After the answer this connection carries the stream's bytes, both ways, and no messages. */
  connectGuest: { params: { port: number; timeout: number }; result: undefined };
  /**
   * Of a paused VM: the files that it writes to are flushed and closed, for others to work on; `reopenDisks` goes on with
   * the same content, in these files.
   */
  releaseDisks: { params: undefined; result: undefined };
  reopenDisks: { params: { disks: readonly Disk[] }; result: undefined };
  listStorage: {
    params: undefined;
    result: readonly { kind: 'disk' | 'dvd'; slot: number; file: string | null }[];
  };
  attachDisk: { params: { disk: Disk }; result: undefined };
  detachDisk: { params: { slot: number }; result: undefined };
  attachDvd: { params: { dvd: Dvd }; result: undefined };
  detachDvd: { params: { slot: number }; result: undefined };
  insertDvd: { params: { dvd: Dvd }; result: undefined };
  listNics: { params: undefined; result: readonly WorkerNic[] };
  attachNic: { params: { nic: WorkerNic }; result: undefined };
  detachNic: { params: { id: string }; result: undefined };
  /** Plugs the cable in elsewhere, or nowhere. */
  connectNic: { params: { id: string; port: PortAddress | null }; result: undefined };
}
export type WorkerMethod = keyof WorkerMethods;

export interface WorkerRequest<M extends WorkerMethod = WorkerMethod> {
  readonly id: number;
  readonly method: M;
  readonly params?: WorkerMethods[M]['params'];
}

export interface WorkerAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

export type WorkerEvent =
  | { readonly event: 'state'; readonly state: WorkerState; readonly full: string | null }
  | { readonly event: 'stopped'; readonly exit: WorkerExit }
  | {
      readonly event: 'disk';
      readonly kind: 'full' | 'room' | 'lost' | 'ejected';
      readonly file: string;
      readonly message: string;
    }
  /** How much of what `saveBegin` and `saveFinish` do is done, 0 to 1. */
  | { readonly event: 'saving'; readonly fraction: number }
  | { readonly event: 'console'; readonly data: string };

export type FromWorker = WorkerAnswer | WorkerEvent;
