import { describe, expect, it } from 'vitest';
import { parseIp } from '../ethernet.ts';
import { describeRule, Egress, isLocalOnly, parseEgressRule } from './policy.ts';

const ip = (text: string): number => parseIp(text)!;

describe('egress rules', () => {
  it.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['tcp:192.0.2.7:443', 'tcp:192.0.2.7/32:443-443'],
    ['*.Debian.org.:80-443', '*.debian.org:80-443'],
    ['udp:*:123', 'udp:*:123-123'],
    ['icmp:*', 'icmp:*'],
  ])('%s', (text, meaning) => {
    expect(describeRule(parseEgressRule(text))).toBe(meaning);
  });

  it.each([
    '',
    ':80',
    '10.0.0.0/33',
    '300.0.0.1',
    'a b',
    'x:0',
    'x:70000',
    'x:9-8',
    'sctp:x',
    'x:1-2-3',
    '1.2.3',
    'a..*',
  ])('refused: "%s"', (text) => {
    expect(() => parseEgressRule(text)).toThrow(`egress rule "${text}" is not`);
  });

  it('allow what they name and nothing else', () => {
    const egress = new Egress(['10.0.0.0/8:22', 'udp:*:123', 'www.example.com'].map(parseEgressRule));
    expect(egress.allows('tcp', ip('10.9.9.9'), 22)).toBe(true);
    expect(egress.allows('tcp', ip('10.9.9.9'), 23)).toBe(false);
    expect(egress.allows('tcp', ip('11.0.0.1'), 22)).toBe(false);
    expect(egress.allows('udp', ip('11.0.0.1'), 123)).toBe(true);
    expect(egress.allows('tcp', ip('11.0.0.1'), 123)).toBe(false);
    // A rule with a port is not about ping.
    expect(egress.allows('icmp', ip('10.9.9.9'), 0)).toBe(false);
    egress.learn('www.example.org', ip('11.0.0.1'));
    expect(egress.allows('tcp', ip('11.0.0.1'), 80)).toBe(false);
    egress.learn('WWW.example.com', ip('11.0.0.1'));
    expect(egress.allows('tcp', ip('11.0.0.1'), 80)).toBe(true);
    expect([egress.allowsName('www.example.com'), egress.allowsName('example.com')]).toEqual([true, true]);
  });

  it('forget the oldest addresses of names', () => {
    const egress = new Egress([parseEgressRule('*.example.com')]);
    expect(egress.allowsName('example.com')).toBe(false);
    for (let n = 0; n < 10_000; n++) egress.learn('a.example.com', n);
    expect(egress.inspect()).toEqual({ allows: '*.example.com', resolved: 4096 });
    expect([egress.allows('tcp', 0, 1), egress.allows('tcp', 9999, 1)]).toEqual([false, true]);
  });
});

describe('addresses that mean something only to the host', () => {
  it.each([
    ['127.0.0.1', true],
    ['169.254.169.254', true],
    ['0.0.0.0', true],
    ['239.1.1.1', true],
    ['255.255.255.255', true],
    ['192.168.1.1', false],
    ['8.8.8.8', false],
  ])('%s: %s', (address, local) => {
    expect(isLocalOnly(ip(address))).toBe(local);
  });
});
