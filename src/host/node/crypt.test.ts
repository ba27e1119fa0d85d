import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { findCommand } from './command.ts';
import { sha512Crypt } from './crypt.ts';

describe('SHA-512 crypt', () => {
  it("gives the specification's example", () => {
    expect(sha512Crypt('Hello world!', 'saltstring')).toBe(
      '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1',
    );
  });

  it.skipIf(findCommand('openssl') === undefined)('is what openssl gives, for any length', () => {
    for (const password of ['', 'a', 'pässwörd', 'x'.repeat(63), 'x'.repeat(64), 'y'.repeat(65), 'z'.repeat(200)]) {
      const expected = execFileSync('openssl', ['passwd', '-6', '-salt', 'abcDEF./12', '-stdin'], {
        input: `${password}\n`,
        encoding: 'utf8',
      });
      if (password !== '') expect(sha512Crypt(password, 'abcDEF./12')).toBe(expected.trim());
    }
  });

  it('has a salt of its own each time', () => {
    expect(sha512Crypt('a')).not.toBe(sha512Crypt('a'));
    expect(sha512Crypt('a')).toMatch(/^\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}$/);
  });
});
