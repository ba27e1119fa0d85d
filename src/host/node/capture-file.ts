/** A file that takes what passes an adapter. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ViridianError } from '../../contracts/errors.ts';

/** @throws ViridianError when the file cannot be made. */
export function openCapture(path: string): { write(bytes: Uint8Array): void; close(): void } {
  let file: number | undefined;
  try {
    file = openSync(path, 'w');
  } catch (error) {
    throw new ViridianError('failure', `capture ${path} cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const close = (): void => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  return {
    write: (bytes) => {
      try {
        if (file !== undefined) writeSync(file, bytes);
      } catch {
        // A full disk ends the capture, not the network.
        close();
      }
    },
    close,
  };
}
