/**
 * The guest file copy component: writes a file into the guest, one at a time. The guest's daemon (Debian: hyperv-daemons)
 * has to run.
 */
import type { Timers } from '../../vmbus/ports.ts';
import { IntegrationComponent } from '../component.ts';
import { IcStatus } from '../frame.ts';
import { writeUtf16 } from '../utf16.ts';
import { FILE_COPY, FILE_COPY_DATA, FileCopyField, FileCopyFlag, FileCopyOperation } from './protocol.ts';

const ANSWER_TIMEOUT = 30_000;

export interface FileCopyOptions {
  readonly overwrite?: boolean | undefined;
  readonly createFolders?: boolean | undefined;
}

/** `exists`, `full`, or what else the guest's daemon says. */
export class FileCopyRefused extends Error {
  readonly reason: 'exists' | 'full' | 'failed' | 'busy';
  constructor(reason: FileCopyRefused['reason'], message: string) {
    super(message);
    this.name = 'FileCopyRefused';
    this.reason = reason;
  }
}

const REFUSALS: ReadonlyMap<number, readonly [FileCopyRefused['reason'], string]> = new Map([
  [IcStatus.ALREADY_EXISTS, ['exists', 'the guest has such a file already']],
  [IcStatus.DISK_FULL, ['full', "the guest's disk is full"]],
]);

export class FileCopy {
  readonly component: IntegrationComponent;
  #busy = false;

  constructor(timers: Timers) {
    this.component = new IntegrationComponent(FILE_COPY, timers, { inspect: () => ({ copying: this.#busy }) });
  }

  /**
   * Writes `bytes` as the file `path` (absolute, with slashes) of the guest. Rejects with FileCopyRefused or an IcFailure.
   * @throws RangeError when a name is too long.
   */
  async copy(path: string, bytes: Uint8Array, { overwrite, createFolders }: FileCopyOptions = {}): Promise<void> {
    if (this.#busy) throw new FileCopyRefused('busy', 'another file is being copied');
    const slash = path.lastIndexOf('/');
    const start = message(FileCopyOperation.START, FileCopyField.START_SIZE);
    writeUtf16(start, FileCopyField.NAME, path.slice(slash + 1), FileCopyField.NAME_SIZE);
    writeUtf16(start, FileCopyField.PATH, path.slice(0, slash + 1), FileCopyField.NAME_SIZE);
    const flags = (overwrite ? FileCopyFlag.OVERWRITE : 0) | (createFolders ? FileCopyFlag.CREATE_PATH : 0);
    start.setUint32(FileCopyField.FLAGS, flags, true);
    start.setBigUint64(FileCopyField.FILE_SIZE, BigInt(bytes.length), true);
    this.#busy = true;
    try {
      await this.#ask(start);
      try {
        for (let at = 0; at < bytes.length; at += FILE_COPY_DATA) {
          const part = bytes.subarray(at, at + FILE_COPY_DATA);
          const data = message(FileCopyOperation.DATA, FileCopyField.DATA_MESSAGE);
          data.setBigUint64(FileCopyField.DATA_OFFSET, BigInt(at), true);
          data.setUint32(FileCopyField.DATA_SIZE, part.length, true);
          new Uint8Array(data.buffer).set(part, FileCopyField.DATA);
          await this.#ask(data);
        }
      } catch (error) {
        // The guest removes what it has; if it does not answer either, there is nothing more to do.
        await this.#ask(message(FileCopyOperation.CANCEL, FileCopyField.HEADER)).catch(() => undefined);
        throw error;
      }
      await this.#ask(message(FileCopyOperation.COMPLETE, FileCopyField.HEADER));
    } finally {
      this.#busy = false;
    }
  }

  async #ask(view: DataView<ArrayBuffer>): Promise<void> {
    const { status } = await this.component.request(new Uint8Array(view.buffer), ANSWER_TIMEOUT);
    if (status === IcStatus.OK) return;
    const [reason, text] = REFUSALS.get(status) ?? ['failed', `the guest refuses the file: 0x${status.toString(16)}`];
    throw new FileCopyRefused(reason, text);
  }
}

function message(operation: number, size: number): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(size));
  view.setUint32(FileCopyField.OPERATION, operation, true);
  return view;
}
