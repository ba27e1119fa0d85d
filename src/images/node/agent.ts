/**
 * What the host speaks to in a guest over Hyper-V sockets (guest/agent/, its README says what goes where): programs and socket
 * units of systemd, which images of ours have. In a package they lie beside the bundles.
 */
import { type ProgramFiles, programFiles } from '../../host/node/program.ts';
import type { ImageFile } from '../debian.ts';

/** systemd loads no module for a socket unit by itself. */
const MODULE = '[Unit]\nWants=modprobe@hv_sock.service\nAfter=modprobe@hv_sock.service\n';

/** Files by path, and the socket units among them, to be enabled. Empty where there are none. */
export function agentFiles(given: ProgramFiles = programFiles('agent', 'guest/agent')): {
  readonly files: Map<string, ImageFile>;
  readonly sockets: string[];
} {
  const files = new Map<string, ImageFile>();
  const sockets: string[] = [];
  for (const name of given.names) {
    const text = Buffer.from(given.read(name)!).toString('utf8');
    if (/\.(?:socket|service)$/.test(name)) files.set(`etc/systemd/system/${name}`, { text });
    else if (!name.includes('.')) files.set(`usr/lib/viridian/${name}`, { text, mode: '755' });
    if (!name.endsWith('.socket')) continue;
    sockets.push(name);
    files.set(`etc/systemd/system/${name}.d/module.conf`, { text: MODULE });
  }
  return { files, sockets };
}
