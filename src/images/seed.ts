/**
 * A seed for cloud-init: a disc with the label CIDATA that a stock cloud image looks for at its first boot, and takes its user, keys
 * and name from (cloud-init's documentation, "NoCloud"). Attached as a DVD or as a disk: the label is what counts.
 */
import { writeIso9660 } from '../support/iso9660.ts';
import { checkWord, type ImageUser } from './debian.ts';

export interface Seed {
  /** A guest that has seen it does nothing the next time. */
  readonly instance: string;
  readonly hostname: string;
  readonly user: ImageUser;
}

const LABEL = 'CIDATA';

/** The bytes of an ISO 9660 image. @throws ViridianError `invalid` */
export function noCloudSeed({ instance, hostname, user }: Seed): Uint8Array<ArrayBuffer> {
  checkWord('hostname', hostname);
  checkWord('user', user.name);
  const account = {
    name: user.name,
    groups: ['sudo', 'adm'],
    shell: '/bin/bash',
    sudo: user.passwordHash === undefined ? 'ALL=(ALL) NOPASSWD:ALL' : 'ALL=(ALL) ALL',
    lock_passwd: user.passwordHash === undefined,
    ...(user.passwordHash === undefined ? {} : { passwd: user.passwordHash }),
    ...(user.keys.length === 0 ? {} : { ssh_authorized_keys: user.keys }),
  };
  // JSON is YAML.
  const userData = { hostname, users: [account], ssh_pwauth: user.passwordHash !== undefined };
  const text = (content: string): Uint8Array => new TextEncoder().encode(content);
  const json = (value: object): string => JSON.stringify(value, undefined, 2);
  return writeIso9660(LABEL, [
    { name: 'meta-data', data: text(`${json({ 'instance-id': instance, 'local-hostname': hostname })}\n`) },
    { name: 'user-data', data: text(`#cloud-config\n${json(userData)}\n`) },
  ]);
}
