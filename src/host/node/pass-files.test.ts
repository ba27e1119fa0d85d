import { closeSync, mkdtempSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { acceptHandedFiles, nodeDiskFiles } from './disk-files.ts';
import { libc } from './libc.ts';
import { FileReceiver, passFiles } from './pass-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'vir-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const missing = libc() === undefined;

describe.skipIf(missing)(
  `files handed to another process (${missing ? 'node:ffi is not here' : 'by node:ffi'})`,
  () => {
    const socket = join(folder, 'files.sock');
    const path = join(folder, 'file');
    writeFileSync(path, 'abcdef');

    it('come open, as they were opened, and those that are not there do not', () => {
      const receiver = FileReceiver.listen(socket)!;
      expect(receiver.take()).toEqual([]);
      passFiles(socket, [
        { path, writable: false },
        { path: join(folder, 'nothing'), writable: true },
        { path, writable: true },
      ]);
      const files = receiver.take();
      expect(files.map((file) => ({ path: file.path, writable: file.writable }))).toEqual([
        { path, writable: false },
        { path, writable: true },
      ]);
      const bytes = Buffer.alloc(6);
      readSync(files[0]!.fd, bytes, 0, 6, 0);
      expect(bytes.toString()).toBe('abcdef');
      expect(() => writeSync(files[0]!.fd, 'x', 0)).toThrow('EBADF');
      writeSync(files[1]!.fd, 'X', 0);
      for (const { fd } of files) closeSync(fd);
      receiver.close();
      expect(() => passFiles(socket, [{ path, writable: false }])).toThrow('cannot be handed');
    });

    it('are used instead of opening them, once each, and locked as any', async () => {
      const other = join(folder, 'other.sock');
      const receiver = FileReceiver.listen(other)!;
      passFiles(other, [{ path, writable: true }]);
      acceptHandedFiles(receiver.take());
      rmSync(path);
      writeFileSync(path, 'another');
      const first = await nodeDiskFiles.open(path, { write: true });
      const bytes = new Uint8Array(6);
      await first.read(0, bytes);
      expect(Buffer.from(bytes).toString()).toBe('Xbcdef');
      const second = await nodeDiskFiles.open(path, { write: true });
      expect(await second.size()).toBe(7);
      await expect(nodeDiskFiles.open(path, { write: true })).rejects.toThrow('in use');
      await first.close();
      await second.close();
      receiver.close();
    });
  },
);
