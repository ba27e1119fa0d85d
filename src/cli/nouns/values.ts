/** Values of options, shared by rows. */
import { resolve } from 'node:path';
import { ViridianError } from '../../contracts/errors.ts';
import type { PortForward } from '../../contracts/network.ts';
import { parseMemory, parseProcessors, parsePublish } from '../arguments.ts';

export const memory = parseMemory('--memory');
export const processors = parseProcessors;

/** The service has another working folder than the user. */
export function path(text: string): string {
  if (text === '') throw new ViridianError('invalid', 'a file must have a name');
  return resolve(text);
}

export function whole(option: string, least = 0): (text: string) => number {
  return (text) => {
    if (!/^\d{1,15}$/.test(text) || Number(text) < least)
      throw new ViridianError('invalid', `${option} must be a whole number from ${least}, not '${text}'`);
    return Number(text);
  };
}

export function oneOf(option: string, words: readonly string[]): (text: string) => string {
  return (text) => {
    // Hyper-V's words have capitals; typing them is a chore.
    const found = words.find((word) => word.toLowerCase() === text.toLowerCase());
    if (found === undefined) throw new ViridianError('invalid', `${option} must be ${words.join(', ')}, not '${text}'`);
    return found;
  };
}

const DISK_WORDS = ['readonly', 'discard'];
const FORMATS = ['vhdx', 'vhd', 'raw', 'iso', 'qcow2'];

export interface DiskValue {
  readonly file: string;
  readonly slot?: number;
  readonly format?: string;
  readonly readOnly?: boolean;
  readonly discard?: boolean;
  readonly allowParent?: string[];
}

/** FILE[,slot=N][,format=F][,readonly][,discard][,parent=FILE] */
export function disk(text: string): DiskValue {
  const [file = '', ...parts] = text.split(',');
  let value: DiskValue = { file: path(file) };
  for (const part of parts) {
    const [name, content = ''] = part.split('=', 2);
    if (name === 'slot') value = { ...value, slot: whole('slot')(content) };
    else if (name === 'format') value = { ...value, format: oneOf('format', FORMATS)(content) };
    else if (name === 'parent') value = { ...value, allowParent: [...(value.allowParent ?? []), path(content)] };
    else if (part === 'readonly') value = { ...value, readOnly: true };
    else if (part === 'discard') value = { ...value, discard: true };
    else
      throw new ViridianError(
        'invalid',
        `--disk: '${part}' is none of slot=N, format=${FORMATS.join('|')}, parent=FILE, ${DISK_WORDS.join(', ')}`,
      );
  }
  return value;
}

export interface NicValue {
  readonly switch: string | null;
  readonly macAddress?: string;
  readonly address?: string;
  readonly vlan?: number;
  readonly macSpoofing?: boolean;
}

/** SWITCH[,mac=ADDRESS][,address=IP][,vlan=N][,spoofing] */
export function nic(text: string): NicValue {
  const [name = '', ...parts] = text.split(',');
  let value: NicValue = { switch: name === '' || name === 'none' ? null : name };
  for (const part of parts) {
    const [word, content = ''] = part.split('=', 2);
    if (word === 'mac') value = { ...value, macAddress: macAddress(content) };
    else if (word === 'address') value = { ...value, address: content };
    else if (word === 'vlan') value = { ...value, vlan: whole('vlan', 1)(content) };
    else if (part === 'spoofing') value = { ...value, macSpoofing: true };
    else throw new ViridianError('invalid', `--nic: '${part}' is none of mac=ADDRESS, address=IP, vlan=N, spoofing`);
  }
  return value;
}

/** As configurations spell it. */
export function macAddress(text: string): string {
  return text.toLowerCase().replaceAll('-', ':');
}

/** A value, or 'none': commander makes a text of null. */
export function orNone<T>(parse: (text: string) => T): (text: string) => T | 'none' {
  return (text) => (text === 'none' ? 'none' : parse(text));
}

const RATES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits per second: 500k, 10M, 1G. */
export function rate(option: string): (text: string) => number {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?)([kmg]?)(?:bit)?$/i.exec(text);
    const bits = match ? Math.round(Number(match[1]) * RATES[match[2]!.toLowerCase()]!) : 0;
    if (bits < 1000)
      throw new ViridianError('invalid', `${option} must be bits per second from 1k on, as 10M, not '${text}'`);
    return bits;
  };
}

export interface HostPort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/** 5432, 53/udp */
export function hostPort(option: string): (text: string) => HostPort {
  return (text) => {
    const match = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
    const port = Number(match?.[1] ?? 0);
    if (port < 1 || port > 65_535)
      throw new ViridianError('invalid', `${option} must be a port of the host, as 5432 or 53/udp, not '${text}'`);
    return { protocol: match?.[2] === 'udp' ? 'udp' : 'tcp', port };
  };
}

/** 8080:80, 0.0.0.0:8080:80, 5353:53/udp */
export function forward(text: string): PortForward {
  return parsePublish(text)[0]!;
}

export function forwardText({ protocol, hostAddress, hostPort: port, guestPort }: PortForward): string {
  const at = hostAddress?.includes(':') ? `[${hostAddress}]:` : `${hostAddress}:`;
  const host = hostAddress === undefined || hostAddress === '127.0.0.1' ? '' : at;
  return `${host}${port}:${guestPort}${protocol === 'udp' ? '/udp' : ''}`;
}
