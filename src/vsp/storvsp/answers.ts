/** Answers to packets: the 64 bytes of the request, with what became of it. */
import { viewOf } from '../../vmbus/ring.ts';
import { Field, Operation, PacketStatus, ScsiStatus, type SenseCode, SrbStatus } from './protocol.ts';
import { senseData } from './unit.ts';

/** What INQUIRY says of a LUN that is not there: guests take the answer as it is. */
const NO_DEVICE = 0x7f;

export function answer(request: Uint8Array, status: number): Uint8Array {
  const view = viewOf(request);
  view.setUint32(Field.OPERATION, Operation.COMPLETE_IO, true);
  view.setUint32(Field.FLAGS, 0, true);
  view.setUint32(Field.STATUS, status, true);
  return request;
}

export function srb(request: Uint8Array, status: number, length: number): Uint8Array {
  const view = viewOf(request);
  view.setUint8(Field.SRB_STATUS, status);
  view.setUint8(Field.SCSI_STATUS, ScsiStatus.GOOD);
  view.setUint8(Field.SENSE_LENGTH, 0);
  view.setUint32(Field.TRANSFER_LENGTH, length, true);
  return answer(request, PacketStatus.SUCCESS);
}

/** The sense data are in the place of the command. */
export function checkCondition(request: Uint8Array, sense: SenseCode): Uint8Array {
  srb(request, SrbStatus.ERROR | SrbStatus.AUTOSENSE_VALID, 0);
  const data = senseData(sense);
  request[Field.SCSI_STATUS] = ScsiStatus.CHECK_CONDITION;
  request[Field.SENSE_LENGTH] = data.length;
  request.set(data, Field.CDB);
  return request;
}

export function noDevice(): Uint8Array {
  const bytes = new Uint8Array(36);
  bytes.set([NO_DEVICE, 0, 5, 2, 31]);
  return bytes;
}

/** SPC-4, section 6.33. */
export function lunList(luns: readonly number[]): Uint8Array {
  const data = new Uint8Array(8 + luns.length * 8);
  viewOf(data).setUint32(0, luns.length * 8);
  luns.forEach((lun, i) => {
    data[8 + i * 8 + 1] = lun;
  });
  return data;
}
