/**
 * Guest file copy, as in Linux's include/uapi/linux/hyperv.h: {u32 operation, 2 GUIDs}, then
 *
 *     START  {name 260 and path 260 characters in UTF-16, u32 flags, u64 size}
 *     DATA   {u32, u64 offset, u32 size, 6 KiB}
 */
import type { IcDescription } from '../component.ts';
import { IcType } from '../frame.ts';

export const FILE_COPY: IcDescription = {
  name: 'file-copy',
  type: '34d14be3-dee4-41c8-9ae7-6b174977c192',
  instance: 'eb765408-105f-49b6-b4aa-c123b64d17d4',
  messageType: IcType.FILE_COPY,
  versions: [[1, 1]],
  negotiationTimeout: 90_000,
};

export const FileCopyOperation = { START: 0, DATA: 1, COMPLETE: 2, CANCEL: 3 } as const;
export const FileCopyFlag = { OVERWRITE: 1, CREATE_PATH: 2 } as const;
const HEADER = 36;
const NAME = 520;
export const FILE_COPY_DATA = 6 * 1024;
export const FileCopyField = {
  OPERATION: 0,
  NAME: HEADER,
  NAME_SIZE: NAME,
  PATH: HEADER + NAME,
  FLAGS: HEADER + 2 * NAME,
  /** Not aligned. */
  FILE_SIZE: HEADER + 2 * NAME + 4,
  START_SIZE: HEADER + 2 * NAME + 12,
  DATA_OFFSET: HEADER + 4,
  DATA_SIZE: HEADER + 12,
  DATA: HEADER + 16,
  DATA_MESSAGE: HEADER + 16 + FILE_COPY_DATA,
  HEADER,
} as const;
