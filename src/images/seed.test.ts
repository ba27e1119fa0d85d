import { describe, expect, it } from 'vitest';
import { noCloudSeed } from './seed.ts';

const KEY = 'ssh-ed25519 AAAA me@host';

/** What stands behind a file's first words, up to the padding. */
function fileAt(image: Uint8Array, begins: string): string {
  const text = Buffer.from(image).toString('latin1');
  const at = text.indexOf(begins);
  return text.slice(at, text.indexOf('\0', at));
}

describe('a seed', () => {
  const seed = (passwordHash: string | undefined, keys: readonly string[]) =>
    noCloudSeed({ instance: 'iid-1', hostname: 'box', user: { name: 'me', passwordHash, keys } });

  it('names the instance and the user as cloud-init reads them', () => {
    const image = seed('$6$a$b', [KEY]);
    expect(JSON.parse(fileAt(image, '{\n  "instance-id"'))).toEqual({
      'instance-id': 'iid-1',
      'local-hostname': 'box',
    });
    const user = fileAt(image, '#cloud-config\n');
    expect(JSON.parse(user.slice(user.indexOf('{')))).toEqual({
      hostname: 'box',
      users: [
        {
          name: 'me',
          groups: ['sudo', 'adm'],
          shell: '/bin/bash',
          sudo: 'ALL=(ALL) ALL',
          lock_passwd: false,
          passwd: '$6$a$b',
          ssh_authorized_keys: [KEY],
        },
      ],
      ssh_pwauth: true,
    });
  });

  it('opens no session by password where there is none', () => {
    const user = fileAt(seed(undefined, [KEY]), '#cloud-config\n');
    expect(JSON.parse(user.slice(user.indexOf('{')))).toMatchObject({
      ssh_pwauth: false,
      users: [{ lock_passwd: true, sudo: 'ALL=(ALL) NOPASSWD:ALL' }],
    });
  });

  it('is refused for names that cannot be', () => {
    expect(() =>
      noCloudSeed({ instance: 'i', hostname: 'A B', user: { name: 'me', passwordHash: 'x', keys: [] } }),
    ).toThrow("hostname 'A B' is not possible");
  });
});
