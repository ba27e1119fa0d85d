/** The commands' options as commander hands them over. */

import type { DiskFile, DvdDrive } from '../contracts/block-device.ts';
import type { NicOptions, PortForward } from '../contracts/network.ts';

/** What every command that starts a partition takes. */
export interface MachineFlags {
  readonly memory?: number;
  readonly memoryMin?: number;
  readonly memoryMax?: number;
  readonly processors?: number;
  readonly clock?: 'real' | 'instructions';
  readonly engine?: 'auto' | 'interpreter' | 'translator';
  /** False with --no-vmbus. */
  readonly vmbus?: boolean;
  readonly disk?: readonly DiskFile[];
  readonly dvd?: readonly DvdDrive[];
  readonly discard?: boolean;
  readonly allowParent?: readonly string[];
  readonly nic?: readonly NicOptions[];
  readonly publish?: readonly PortForward[];
  readonly capture?: string;
  readonly check?: boolean;
  readonly checkEvery?: bigint;
  readonly timeout?: number;
  readonly instructions?: bigint;
  readonly save?: string;
  readonly trace?: boolean;
  readonly stats?: boolean;
  readonly inspect?: boolean;
  readonly hash?: boolean;
}

export interface RunFlags extends MachineFlags {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly module?: readonly string[];
  readonly reboot: boolean;
  readonly testDevice?: boolean;
  readonly restore?: string;
}

export interface QuickstartFlags extends MachineFlags {
  readonly kernel?: string;
  readonly busybox?: string;
  readonly append?: string;
  readonly drivers?: boolean;
  /** A whole Debian instead, on a disk of its own. */
  readonly debian?: boolean;
  readonly refresh?: boolean;
}
