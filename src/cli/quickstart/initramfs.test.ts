import { describe, expect, it } from 'vitest';
import { buildInitramfs } from './initramfs.ts';

describe('buildInitramfs', () => {
  it('has busybox, an init and its tables', () => {
    const busybox = new TextEncoder().encode('\x7fELF static');
    const text = new TextDecoder('latin1').decode(buildInitramfs({ busybox }));
    for (const path of [
      'bin/busybox',
      'init',
      'etc/inittab',
      'etc/console',
      'etc/udhcpc/default.script',
      'dev/console',
    ])
      expect(text).toContain(`${path}\0`);
    expect(text).toContain('\x7fELF static');
    expect(text).toContain('poweroff -f');
  });

  it('takes further files, in place of its own', () => {
    const files = { 'etc/console': '#!/bin/sh\nexec poweroff -f\n', 'root/hello': 'hi\n' };
    const text = new TextDecoder('latin1').decode(buildInitramfs({ busybox: new Uint8Array(1), files }));
    expect(text).toContain('root/hello\0');
    expect(text).not.toContain('sh -i');
    // The replaced script stays executable: its header's mode is a regular file's with 755.
    expect(text).toMatch(/070701[0-9a-f]{8}000081ed[0-9a-f]{88}etc\/console\0/);
  });
});
