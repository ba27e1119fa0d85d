/**
 * The recipe of a Debian image: which packages, and what is set up in them. What acts is in node/debian.ts.
 *
 * The guest is to be at home on Hyper-V's devices and to boot fast: the initial RAM disk (tiny-initramfs) is one small program
 * with the few drivers that lead to the root file system, and virtio's, so that the same disk starts in QEMU; nothing waits
 * for a network that is not there; and what systemd would do at a first boot is done already.
 */
import { ViridianError } from '../contracts/errors.ts';

/** The release that is built: Debian 12. */
export const SUITE = 'bookworm';
/** What the image itself gets its packages from, wherever it was built from. */
export const PUBLIC_MIRROR = 'http://deb.debian.org/debian';
export const PUBLIC_SECURITY_MIRROR = 'http://security.debian.org/debian-security';

export const PACKAGES: readonly string[] = [
  'systemd-sysv',
  'systemd-resolved',
  'udev',
  'dbus',
  'libpam-systemd',
  'linux-image-cloud-amd64',
  'tiny-initramfs',
  'hyperv-daemons',
  'openssh-server',
  'sudo',
  'iproute2',
  'iputils-ping',
  'netbase',
  'ca-certificates',
  'curl',
  'e2fsprogs',
  'kmod',
  'procps',
  'psmisc',
  'less',
  'nano',
  'vim-tiny',
  'bash-completion',
];

/** In the initial RAM disk: what the root file system is behind, under Hyper-V and under QEMU. */
const INITRD_MODULES: readonly string[] = [
  'hv_vmbus',
  'hv_storvsc',
  'sd_mod',
  'virtio_pci',
  'virtio_blk',
  // What ext4 asks for by another name than a module's.
  'crc32c_generic',
  'ext4',
];

/**
 * Subsystems whose devices get their uevents at boot: what modules are found by, what gets links, permissions or names. What comes
 * later, comes with its uevent anyway.
 */
const COLD_PLUGGED =
  'block net misc input serio vmbus virtio pci scsi usb hid rtc drm graphics sound vsock ' +
  'acpi dmi hwmon ptp watchdog tpm nvme virtio-ports vfio hidraw scsi_generic';

/** The serial console's first: the login waits for it. */
const TRIGGERS: readonly string[] = [
  '--subsystem-match=tty --sysname-match=ttyS* --sysname-match=hvc*',
  `--prioritized-subsystem=block,net ${COLD_PLUGGED.replaceAll(/\S+/g, '--subsystem-match=$&')}`,
];

/** What has nothing to do in a virtual machine, or on one disk without layers; `systemctl unmask` brings it back. */
const MASKED: readonly string[] = [
  // Nothing without configuration, and loads two modules before it finds out.
  'systemd-repart.service',
  // Records of crashes in firmware, and the network as a boot loader's command line has it.
  'systemd-pstore.service',
  'systemd-network-generator.service',
  // When the machine was booted, in a file that the journal has replaced.
  'systemd-update-utmp.service',
  'systemd-update-utmp-runlevel.service',
  // File systems for debugging and rare interfaces; programs that want one mount it.
  ...['dev-hugepages.mount', 'dev-mqueue.mount', 'sys-kernel-debug.mount', 'sys-kernel-tracing.mount'],
  ...['sys-kernel-config.mount', 'sys-fs-fuse-connections.mount'],
  ...['modprobe@configfs.service', 'modprobe@drm.service', 'modprobe@efi_pstore.service', 'modprobe@fuse.service'],
];

/** Of systemd, run at each boot, for what these images have not: encrypted and verified disks, hibernation, other partitions. */
const MASKED_GENERATORS: readonly string[] = [
  ...['cryptsetup', 'integritysetup', 'veritysetup', 'gpt-auto', 'hibernate-resume', 'system-update', 'bless-boot'],
];

export interface ImageUser {
  readonly name: string;
  /** As /etc/shadow has it; undefined where only keys open a session. */
  readonly passwordHash: string | undefined;
  /** Lines of an authorized_keys file. */
  readonly keys: readonly string[];
}

export interface ImageFile {
  readonly text: string;
  /** In octal digits. Default: 644. */
  readonly mode?: string;
}

export interface Recipe {
  readonly hostname: string;
  readonly user: ImageUser;
  /** The root file system's UUID. */
  readonly rootUuid: string;
  /** 32 hexadecimal digits. */
  readonly machineId: string;
  readonly timezone: string;
  readonly locale: string;
  /** Further files, by path without the leading slash, and socket units to enable. */
  readonly files?: ReadonlyMap<string, ImageFile> | undefined;
  readonly sockets?: readonly string[] | undefined;
}

const WORDS = {
  hostname: [/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'letters a to z, digits and hyphens, at most 63'],
  user: [/^[a-z_][a-z0-9_-]{0,31}$/, 'letters a to z, digits, - and _, at most 32, a letter first'],
  timezone: [/^[A-Za-z0-9_+-]+(?:\/[A-Za-z0-9_+-]+){0,2}$/, 'a name such as Europe/Berlin'],
  locale: [/^C\.UTF-8$/, 'C.UTF-8: the package locales has others, to be set up in the guest'],
  package: [/^[a-z0-9][a-z0-9.+-]+$/, "a package's name"],
} as const satisfies Record<string, readonly [RegExp, string]>;

/** @throws ViridianError `invalid` */
export function checkWord(kind: keyof typeof WORDS, text: string): string {
  const [shape, words] = WORDS[kind];
  if (!shape.test(text)) throw new ViridianError('invalid', `${kind} '${text}' is not possible: it is ${words}`);
  return text;
}

/** The public keys of an authorized_keys file or a .pub file. @throws ViridianError when there is none. */
export function publicKeys(text: string, name: string): string[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (lines.some((line) => line.includes('PRIVATE KEY')))
    throw new ViridianError('invalid', `${name} is a private key: give the public one, which ends in .pub`);
  if (lines.length === 0 || !lines.every((line) => /(?:^|\s)(?:ssh-|ecdsa-|sk-)[\w@.-]+ [A-Za-z0-9+/=]+/.test(line)))
    throw new ViridianError('badFile', `${name} has no public key as ssh-keygen writes them`);
  return lines;
}

function ownFiles({ hostname, user, rootUuid, machineId, timezone, locale }: Recipe): [string, string][] {
  const sudo = user.passwordHash === undefined ? `${user.name} ALL=(ALL:ALL) NOPASSWD: ALL\n` : undefined;
  return [
    ['etc/hostname', `${hostname}\n`],
    ['etc/hosts', `127.0.0.1 localhost\n127.0.1.1 ${hostname}\n::1 localhost ip6-localhost ip6-loopback\n`],
    ['etc/fstab', `UUID=${rootUuid} / ext4 errors=remount-ro 0 1\n`],
    // Read by who boots the disk. The kernel's tests of its own ciphers are a fifth of what a boot executes.
    ['etc/kernel/cmdline', 'cryptomgr.notests\n'],
    ['etc/machine-id', `${machineId}\n`],
    ['etc/timezone', `${timezone}\n`],
    ['etc/default/locale', `LANG=${locale}\n`],
    [
      'etc/apt/sources.list.d/debian.sources',
      `Types: deb\nURIs: ${PUBLIC_MIRROR}\nSuites: ${SUITE} ${SUITE}-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: ${PUBLIC_SECURITY_MIRROR}\nSuites: ${SUITE}-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n`,
    ],
    // An emulated processor on a busy host is slow: what takes long is no failure.
    [
      'etc/systemd/system.conf.d/patience.conf',
      '[Manager]\nDefaultTimeoutStartSec=5min\nDefaultTimeoutStopSec=5min\nDefaultDeviceTimeoutSec=5min\n',
    ],
    // Making and loading the filters of system calls is a good part of each service's start.
    ['etc/systemd/system.conf.d/filters.conf', '[Manager]\nManagerEnvironment=SYSTEMD_SECCOMP=0\n'],
    // Every Ethernet adapter, whenever it comes; a machine without one is online too.
    [
      'etc/systemd/network/80-dhcp.network',
      '[Match]\nType=ether\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\n',
    ],
    // The serial console first, then what has a rule that does something; not the hundreds that are no hardware: each costs a run
    // through all rules.
    [
      'etc/systemd/system/systemd-udev-trigger.service.d/devices.conf',
      `[Service]\nExecStart=\n${TRIGGERS.map((which) => `ExecStart=-udevadm trigger --action=add ${which}\n`).join('')}`,
    ],
    // Hyper-V names no slots, and names from a MAC address are not what one expects.
    ['etc/systemd/network/99-default.link', '[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep kernel\n'],
    [
      'etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf',
      '[Service]\nExecStart=\nExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=20\nSuccessExitStatus=1\n',
    ],
    ...(sudo === undefined ? [] : [['etc/sudoers.d/90-user', sudo] as [string, string]]),
  ];
}

/**
 * Run on the host once Debian's essential packages are there, before the others; `$1` is the new root. Files that packages
 * must find when they are set up.
 */
export function essentialScript(): string {
  return `#!/bin/sh
set -eu
mkdir -p "$1/etc/tiny-initramfs"
printf 'MICROCODE=no\\nAUTO_MODULES=no\\nINCLUDE_MODULES=%s\\n' ${INITRD_MODULES.join(',')} > "$1/etc/tiny-initramfs/tiny-initramfs.conf"
`;
}

/** Run on the host when all packages are there; `$1` is the new root. */
export function customizeScript(recipe: Recipe): string {
  const { user, timezone } = recipe;
  const lines = [
    '#!/bin/sh',
    'set -eu',
    'rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*.list "$1/etc/apt/apt.conf.d/99mmdebstrap"',
  ];
  const own = ownFiles(recipe).map(([path, text]): [string, ImageFile] => [
    path,
    { text, ...(path.startsWith('etc/sudoers.d') ? { mode: '440' } : {}) },
  ]);
  for (const [path, { text, mode = '644' }] of [...own, ...(recipe.files ?? [])]) {
    lines.push(`mkdir -p "$1/${path.slice(0, path.lastIndexOf('/'))}"`);
    lines.push(`rm -f "$1/${path}"`, `cat > "$1/${path}" <<'END_OF_FILE'`, text.replace(/\n$/, ''), 'END_OF_FILE');
    lines.push(`chmod ${mode} "$1/${path}"`);
  }
  lines.push(
    `[ -e "$1/usr/share/zoneinfo/${timezone}" ] || { echo "E: there is no timezone ${timezone}" >&2; exit 1; }`,
    `ln -sf /usr/share/zoneinfo/${timezone} "$1/etc/localtime"`,
    'ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"',
    'chroot "$1" systemctl --quiet set-default multi-user.target',
    `chroot "$1" systemctl --quiet enable ${['systemd-networkd.service', 'systemd-resolved.service', ...(recipe.sockets ?? [])].join(' ')}`,
    `chroot "$1" systemctl --quiet mask ${MASKED.join(' ')}`,
    'mkdir -p "$1/etc/systemd/system-generators"',
    ...MASKED_GENERATORS.map((name) => `ln -s /dev/null "$1/etc/systemd/system-generators/systemd-${name}-generator"`),
    // Logical volumes, of which there are none; work that a machine which may run for a minute should not begin with.
    'chroot "$1" systemctl --quiet disable e2scrub_all.timer e2scrub_reap.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer',
    // sshd is started by who connects.
    'chroot "$1" systemctl --quiet disable ssh.service',
    'chroot "$1" systemctl --quiet enable ssh.socket',
    `chroot "$1" useradd --create-home --shell /bin/bash --groups sudo,adm --password '${user.passwordHash ?? '*'}' ${user.name}`,
    'chroot "$1" usermod --lock root',
  );
  if (user.keys.length > 0) {
    const folder = `/home/${user.name}/.ssh`;
    lines.push(
      `mkdir -m 700 "$1${folder}"`,
      `cat > "$1${folder}/authorized_keys" <<'END_OF_FILE'`,
      ...user.keys,
      'END_OF_FILE',
      `chmod 600 "$1${folder}/authorized_keys"`,
      `chroot "$1" chown -R ${user.name}:${user.name} ${folder}`,
    );
  }
  // What the build leaves behind.
  lines.push(
    'rm -f "$1/var/log/dpkg.log" "$1/var/log/alternatives.log" "$1/var/log/apt/"* "$1/var/lib/dbus/machine-id"',
  );
  // Nothing under /usr is newer than what systemd made of it: else the first boot would make it again.
  lines.push('touch -r "$1/usr" "$1/etc/.updated" "$1/var/.updated"', '');
  return lines.join('\n');
}

/** Where packages come from, as apt's `indextargets` prints one line each: URI|codename|origin|label. */
export function mirrorsOf(targets: string): {
  readonly main: string | undefined;
  readonly security: string | undefined;
} {
  const rows = targets.split('\n').map((line) => line.split('|'));
  const find = (label: string): string | undefined =>
    rows.find(([, , origin, of]) => origin === 'Debian' && of === label)?.[0]?.replace(/\/+$/, '');
  return { main: find('Debian'), security: find('Debian-Security') };
}
