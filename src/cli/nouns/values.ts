/** Values of options, shared by rows. */
import { resolve } from 'node:path';
import { ViridianError } from '../../contracts/errors.ts';
import { parseMemory, parseProcessors } from '../arguments.ts';

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

/** A number a second, as 20M; 'none' is null. @param unit 1024 for bytes, 1000 for bits: what K stands for. */
export function rate(option: string, unit: 1000 | 1024): (text: string) => number | null {
  return (text) => {
    if (text.toLowerCase() === 'none') return null;
    const match = /^(\d+(?:\.\d+)?)([KMG]?)$/i.exec(text);
    if (!match)
      throw new ViridianError('invalid', `${option} must be a number a second, as 20M, or none, not '${text}'`);
    return Math.round(Number(match[1]) * unit ** ['', 'K', 'M', 'G'].indexOf(match[2]!.toUpperCase()));
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

/** With the separators of any system. */
export function mac(text: string): string {
  const address = text.toLowerCase().replaceAll('-', ':');
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(address))
    throw new ViridianError(
      'invalid',
      `a MAC address is six pairs of hexadecimal digits, as 00:15:5d:00:00:01, not '${text}'`,
    );
  return address;
}

export interface NicValue {
  readonly switch: string | null;
  readonly macAddress?: string;
}

/** SWITCH[,mac=ADDRESS] */
export function nic(text: string): NicValue {
  const [name = '', ...parts] = text.split(',');
  let value: NicValue = { switch: name === '' || name === 'none' ? null : name };
  for (const part of parts) {
    const match = /^mac=(.*)$/.exec(part);
    if (!match) throw new ViridianError('invalid', `--nic: '${part}' is not mac=ADDRESS`);
    value = { ...value, macAddress: mac(match[1]!) };
  }
  return value;
}
