/**
 * The quickstart's initial RAM disk: a static busybox, and an init that gives an interactive shell on the serial
 * console. The archive is not compressed: unpacking it is the guest's work, and the host has it in memory anyway.
 */
import { type CpioEntry, writeCpio } from '../../support/cpio.ts';

const DIRECTORIES = 'bin dev etc etc/udhcpc proc root run sbin sys tmp usr usr/bin usr/sbin'.split(' ');

/** Process 1 until the file systems and the applets' links are there; then busybox's init, which reads /etc/inittab. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null
/bin/busybox --install -s
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
hostname -F /etc/hostname
# Hyper-V's drivers, where there are any beside us.
[ ! -e /lib/modules/order ] || while read -r module; do insmod "/$module"; done < /lib/modules/order
# Memory that the host adds is used at once; udev's rules do it elsewhere.
echo online > /sys/devices/system/memory/auto_online_blocks 2>/dev/null
exec /sbin/init
`;

/**
 * init gives the console script a session with ttyS0 as its controlling terminal, so that job control and Ctrl-C work,
 * and takes the signals that the applets poweroff, halt and reboot send it.
 */
const INITTAB = `ttyS0::once:/etc/console
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
`;

/** The kernel passes `LINES=` and `COLUMNS=` of its command line on as environment. */
const CONSOLE = `#!/bin/sh
export HOME=/root USER=root PATH=/usr/sbin:/usr/bin:/sbin:/bin ENV=/etc/profile
cd /root
[ -z "$LINES" ] || [ -z "$COLUMNS" ] || stty rows "$LINES" cols "$COLUMNS"
unset LINES COLUMNS
[ ! -e /etc/network ] || sh /etc/network
cat /etc/motd
sh -i
sync
exec poweroff -f
`;

const PROFILE = `PS1='root@\\h:\\w# '
alias ll='ls -l'
`;

/** Where Debian's busybox looks for it: what udhcpc does with the address that it was given. */
const DHCP = `#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ifconfig "$interface" "$ip" netmask "$subnet"
[ -z "$router" ] || route add default gw "$router" dev "$interface" 2>/dev/null
[ -z "$dns" ] || echo "nameserver $dns" > /etc/resolv.conf
`;

/** Its path is `etc/network`: addresses for all adapters before the shell begins. Drivers find them a moment after they are loaded. */
export const NETWORK = `ifconfig lo up
tries=0
while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 30 ]; do usleep 100000; tries=$((tries + 1)); done
for adapter in /sys/class/net/eth*; do
  ifconfig "\${adapter##*/}" up && udhcpc -n -q -t 3 -T 1 -i "\${adapter##*/}" >/dev/null 2>&1 &
done
wait
`;

const FILES: Readonly<Record<string, { text: string; mode?: number }>> = {
  init: { text: INIT, mode: 0o755 },
  'etc/inittab': { text: INITTAB },
  'etc/console': { text: CONSOLE, mode: 0o755 },
  'etc/udhcpc/default.script': { text: DHCP, mode: 0o755 },
  'etc/hostname': { text: 'viridian\n' },
  'etc/motd': { text: "\nA busybox shell on Debian's kernel. 'exit' or 'poweroff' ends it.\n" },
  'etc/profile': { text: PROFILE },
  'etc/passwd': { text: 'root::0:0:root:/root:/bin/sh\n' },
  'etc/group': { text: 'root:x:0:\n' },
};

export interface InitramfsOptions {
  readonly busybox: Uint8Array;
  /** Further files, by path without the leading slash; they replace ours of the same path. */
  readonly files?: Readonly<Record<string, string>>;
}

export function buildInitramfs({ busybox, files = {} }: InitramfsOptions): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const all = { ...FILES, ...Object.fromEntries(Object.entries(files).map(([path, text]) => [path, { text }])) };
  const entries: CpioEntry[] = [
    ...DIRECTORIES.map((path): CpioEntry => ({ kind: 'directory', path })),
    // Before /dev is mounted, /init's own output needs it.
    { kind: 'character', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'file', path: 'bin/busybox', data: busybox, mode: 0o755 },
    ...Object.entries(all).map(
      ([path, file]): CpioEntry => ({
        kind: 'file',
        path,
        data: encoder.encode(file.text),
        mode: FILES[path]?.mode ?? 0o644,
      }),
    ),
  ];
  return writeCpio(entries);
}
