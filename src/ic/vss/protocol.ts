/** Volume shadow copies, as in Linux's drivers/hv/hv_snapshot.c: {u8 operation, 7 bytes, u32 flags, 8 bytes}. */
import type { IcDescription } from '../component.ts';
import { IcType } from '../frame.ts';

export const VSS: IcDescription = {
  name: 'vss',
  type: '35fa2e29-ea23-4236-96ae-3a6ebacba440',
  instance: '2450ee40-33bf-4fbd-892e-9fb06e9214cf',
  messageType: IcType.VSS,
  versions: [
    [5, 0],
    [4, 0],
    [3, 0],
  ],
  // The guest's driver waits for its daemon.
  negotiationTimeout: 90_000,
};

export const VssOperation = { HOT_BACKUP: 2, GET_DM_INFO: 3, BACKUP_COMPLETE: 4, FREEZE: 5, THAW: 6 } as const;
export const VSS_BODY = 20;
