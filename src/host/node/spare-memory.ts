/** Memory given back to the machine, in Node: bytes that are seldom needed go to a file without a name, freed ones to the kernel. */
import { closeSync, constants, openSync, readSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { ViridianError } from '../../contracts/errors.ts';
import { releaseFreed } from './libc.ts';
import { setUpForGuests } from './threads.ts';

const files = new FinalizationRegistry<number>((fd) => {
  closeSync(fd);
});
let serial = 0;

/** Writes `bytes` to a file that only this process can reach, and reads them back when asked. Undefined: there is no room. */
export async function spill(bytes: Uint8Array): Promise<(() => Uint8Array) | undefined> {
  const path = join(tmpdir(), `viridian-${process.pid}-${serial++}`);
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
    } finally {
      await file.close();
    }
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const { length } = bytes;
    const read = (): Uint8Array => {
      const whole = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        const count = readSync(fd, whole, at, length - at, at);
        if (count === 0) throw new ViridianError('badFile', 'a temporary file of this process was cut off by somebody');
        at += count;
      }
      return whole;
    };
    files.register(read, fd);
    return read;
  } catch {
    return undefined;
  } finally {
    try {
      unlinkSync(path);
    } catch {
      // It was never made.
    }
  }
}

/** Gives memory that was freed back to the kernel: compilers leave much behind them. With `garbage` collects that first. */
export function trim(garbage = false): void {
  if (garbage) {
    collector ??= exposeCollector();
    collector();
  }
  releaseFreed();
}

let collector: (() => void) | undefined;

/** V8 has no other way to say that now is a good time: a thread that waits allocates nothing, and so never collects. */
function exposeCollector(): () => void {
  setUpForGuests();
  const { runInNewContext } = process.getBuiltinModule('node:vm');
  const collect = runInNewContext('gc') as (options: Readonly<Record<string, string>>) => void;
  // Of this kind, it gives back the room for new objects too.
  return () => collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
