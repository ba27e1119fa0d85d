/**
 * The management service as a service of systemd: what `hv role install` writes. systemd.service(5), systemd.exec(5),
 * systemd.kill(5).
 */

export interface UnitOptions {
  /** The command, and what it is started with. */
  readonly command: readonly string[];
  /** Of the whole host, as root; else of one user. */
  readonly system: boolean;
  /** HOST:PORT. */
  readonly listen?: string | undefined;
}

export const UNIT = 'viridian.service';
/** Carries out automatic stop actions when the host goes down, and not when the service is restarted. */
export const GUESTS_UNIT = 'viridian-guests.service';

/**
 * KillMode=process: workers are the service's children, and must not go with it. No MemoryDenyWriteExecute, which takes
 * WebAssembly and V8's compiler away.
 */
export function serviceUnit({ command, system, listen }: UnitOptions): string {
  const start = [...command, 'service', 'run', ...(listen === undefined ? [] : ['--listen', listen])];
  return `${[
    '[Unit]',
    "Description=Viridian's virtual machine management service",
    'Documentation=man:systemd.service(5)',
    ...(system ? ['After=network.target'] : []),
    '',
    '[Service]',
    'Type=exec',
    `ExecStart=${start.map(quoted).join(' ')}`,
    'Restart=on-failure',
    'KillMode=process',
    'TimeoutStopSec=30',
    'LimitNOFILE=65536',
    ...(system
      ? [
          'StateDirectory=viridian',
          'StateDirectoryMode=0700',
          'RuntimeDirectory=viridian',
          'RuntimeDirectoryMode=0700',
          'RuntimeDirectoryPreserve=yes',
          'Environment=XDG_DATA_HOME=/var/lib XDG_RUNTIME_DIR=/run',
          'ProtectSystem=strict',
          // Disks are where their users have put them.
          'ReadWritePaths=-/var/lib -/srv -/home -/root -/mnt',
          'ProtectClock=yes',
          'ProtectHostname=yes',
          'ProtectKernelLogs=yes',
          'ProtectKernelModules=yes',
          'ProtectKernelTunables=yes',
          'PrivateTmp=no',
        ]
      : []),
    'NoNewPrivileges=yes',
    'LockPersonality=yes',
    'RestrictRealtime=yes',
    'RestrictSUIDSGID=yes',
    'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
    'SystemCallArchitectures=native',
    'UMask=0077',
    '',
    '[Install]',
    `WantedBy=${system ? 'multi-user.target' : 'default.target'}`,
  ].join('\n')}\n`;
}

export function guestsUnit({ command, system }: UnitOptions): string {
  return `${[
    '[Unit]',
    "Description=Automatic stop actions of Viridian's virtual machines",
    `After=${UNIT}`,
    `Wants=${UNIT}`,
    '',
    '[Service]',
    'Type=oneshot',
    'RemainAfterExit=yes',
    `ExecStart=${[...command, 'service', 'status'].map(quoted).join(' ')}`,
    `ExecStop=${[...command, 'service', 'stop', '--vms'].map(quoted).join(' ')}`,
    'TimeoutStopSec=300',
    ...(system ? ['Environment=XDG_DATA_HOME=/var/lib XDG_RUNTIME_DIR=/run'] : []),
    '',
    '[Install]',
    `WantedBy=${system ? 'multi-user.target' : 'default.target'}`,
  ].join('\n')}\n`;
}

/** systemd.syntax(7): quotes, and its own specifiers and variables taken literally. */
function quoted(word: string): string {
  const literal = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w./:%@+-]+$/.test(literal) ? literal : `"${literal.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
