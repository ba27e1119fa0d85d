import { describe, expect, it } from 'vitest';
import {
  diskText,
  parseClock,
  parseDisk,
  parseFile,
  parseInstructions,
  parseMemory,
  parseModule,
  parseNic,
  parseProcessors,
  parsePublish,
  parseTimeout,
} from './arguments.ts';

const MIB = 2 ** 20;

describe('command-line values', () => {
  it.each([
    ['512M', 512 * MIB],
    ['512MiB', 512 * MIB],
    ['512mb', 512 * MIB],
    ['2G', 2048 * MIB],
    ['1.5G', 1536 * MIB],
    ['65536k', 64 * MIB],
    ['64', 64 * MIB],
  ])('--memory %s', (text, bytes) => expect(parseMemory('--memory')(text)).toBe(bytes));

  it('--nic', () => {
    expect(parseNic('nat')).toEqual([{ network: 'nat' }]);
    const full = 'nat,mac=00-15-5D-01-02-03,vlan=7,mtu=9000,name=lan,host=80,host=53/udp,large,capture=a.pcap';
    expect(parseNic(full, parseNic('private'))).toEqual([
      { network: 'private' },
      {
        network: 'nat',
        mac: '00-15-5D-01-02-03',
        vlan: 7,
        mtu: 9000,
        name: 'lan',
        hostAccess: [
          { protocol: 'tcp', port: 80 },
          { protocol: 'udp', port: 53 },
        ],
        largeFrames: true,
        capture: 'a.pcap',
      },
    ]);
  });

  it.each([
    ['', '--nic must be nat|private'],
    ['bridge', '--nic must be nat|private'],
    ['nat,mac=1', 'address must be like 00-15-5D-01-02-03'],
    ['nat,mac=01-15-5D-01-02-03', 'no group address'],
    ['nat,vlan=4095', 'vlan must be a whole number from 1 to 4094, not 4095'],
    ['nat,vlan=x', 'vlan must be a whole number'],
    ['nat,mtu=10', 'mtu must be a whole number from 576 to 9000'],
    ['nat,host=0', "a host's port must be a whole number from 1 to 65535"],
    ['private,host=80', 'access to the host needs a network adapter on nat'],
    ['nat,name=a b', 'name must be letters'],
    ['nat,speed=5', "'speed=5' is none of mac="],
    ['nat,toString=5', "'toString=5' is none of mac="],
  ])('--nic %s is refused', (text, message) => {
    expect(() => parseNic(text)).toThrow(message);
  });

  it.each([
    ['8080:80', { protocol: 'tcp', hostPort: 8080, guestPort: 80 }],
    ['0.0.0.0:53:5353/udp', { protocol: 'udp', hostAddress: '0.0.0.0', hostPort: 53, guestPort: 5353 }],
    ['[::1]:1:2/tcp', { protocol: 'tcp', hostAddress: '::1', hostPort: 1, guestPort: 2 }],
  ])('--publish %s', (text, forward) => {
    expect(parsePublish(text)).toEqual([forward]);
  });

  it.each(['', '80', '0:80', '80:0', '65536:1', '80:90/sctp', 'a:b', ':80:80'])('--publish %s is refused', (text) => {
    expect(() => parsePublish(text)).toThrow('--publish must be [ADDRESS:]HOSTPORT:GUESTPORT[/udp]');
  });

  it.each(['', 'M', '-1', '1T', '0x10', '1.0000001', '1e3', '9'.repeat(30)])('--memory %s is refused', (text) => {
    expect(() => parseMemory('--memory')(text)).toThrow('--memory must be a size such as 512M or 2G');
  });

  it('--processors', () => {
    expect(parseProcessors('4')).toBe(4);
    for (const text of ['0', '-1', '1.5', 'two', '']) expect(() => parseProcessors(text)).toThrow('--processors');
  });

  it('--timeout', () => {
    expect(parseTimeout('0.5')).toBe(0.5);
    for (const text of ['0', '-1', 'NaN', 'Infinity', '1e9', '3000000'])
      expect(() => parseTimeout(text)).toThrow(
        `--timeout must be a number of seconds above 0, at most 2000000, not '${text}'`,
      );
  });

  it('--instructions', () => {
    expect(parseInstructions('500_000_000')).toBe(500_000_000n);
    for (const text of ['0', '-1', '1.5', '1e6', '9'.repeat(19)])
      expect(() => parseInstructions(text)).toThrow('--instr');
  });

  it('files', () => {
    expect(parseFile('--kernel')('a b')).toBe('a b');
    expect(() => parseFile('--kernel')('')).toThrow("--kernel must be the name of a file, not ''");
    expect(parseModule('b x', parseModule('a'))).toEqual(['a', 'b x']);
    expect(() => parseModule('')).toThrow(`--module must be "FILE" or "FILE ARGUMENTS", not ''`);
  });

  it('--disk', () => {
    expect(parseDisk('b.img,format=raw,readonly', parseDisk('a,,b.vhdx,discard'))).toEqual([
      { file: 'a,b.vhdx', discard: true },
      { file: 'b.img', format: 'raw', readOnly: true },
    ]);
    expect(() => parseDisk('')).toThrow('--disk must be FILE[,format=FORMAT]');
    expect(() => parseDisk('a,format=vmdk')).toThrow('the format must be vhdx, vhd, raw, iso, qcow2');
    expect(() => parseDisk('a,b')).toThrow("'b' is none of format=FORMAT, readonly, discard");
    expect(diskText({ file: "it's, here", format: 'raw', readOnly: true })).toBe(
      "'it'\\''s,, here,format=raw,readonly'",
    );
  });

  it('--clock', () => {
    expect(parseClock('instructions')).toBe('instructions');
    expect(() => parseClock('wall')).toThrow("--clock must be 'real' or 'instructions', not 'wall'");
  });
});
