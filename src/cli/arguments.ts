/** Values on the command line: each parser takes the text as typed and throws what is wrong with it. */
import { DISK_FORMATS, type DiskFile, type DvdDrive, type WantedPlace } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { NicOptions, PortForward } from '../contracts/network.ts';
import { checkNic } from '../contracts/partition-options.ts';

const UNITS: Readonly<Record<string, number>> = { '': 2 ** 20, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** The parser of an option: '512M', '512MiB', '2G', '1.5G', '65536K'; a plain number is mebibytes. */
export function parseMemory(option: string): (text: string) => number {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text.trim());
    const bytes = match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : Number.NaN;
    if (!Number.isSafeInteger(bytes)) throw wrong(option, 'a size such as 512M or 2G', text);
    return bytes;
  };
}

export function parseProcessors(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw wrong('--processors', 'a whole number from 1', text);
  return Number(text);
}

/** Timers of the host count milliseconds in 31 bits. */
export function parseTimeout(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds > 0 && seconds <= 2_000_000)) {
    throw wrong('--timeout', 'a number of seconds above 0, at most 2000000', text);
  }
  return seconds;
}

export function parseInstructions(text: string): bigint {
  return parseCount('--instructions', text);
}
export function parseEvery(text: string): bigint {
  return parseCount('--check-every', text);
}

/** Separators as in TypeScript: 500_000_000. */
function parseCount(option: string, text: string): bigint {
  const digits = text.replaceAll('_', '');
  if (!/^[1-9]\d{0,18}$/.test(digits) || BigInt(digits) >= 1n << 63n) {
    throw wrong(option, 'a whole number from 1', text);
  }
  return BigInt(digits);
}

export function parseEngine(text: string): 'auto' | 'interpreter' | 'translator' {
  if (text !== 'auto' && text !== 'interpreter' && text !== 'translator')
    throw wrong('--engine', "'auto', 'interpreter' or 'translator'", text);
  return text;
}

export function parseClock(text: string): 'real' | 'instructions' {
  if (text !== 'real' && text !== 'instructions') throw wrong('--clock', "'real' or 'instructions'", text);
  return text;
}

/** The parser of an option that names a file. */
export function parseFile(option: string): (text: string) => string {
  return (text) => {
    if (text === '') throw wrong(option, 'the name of a file', text);
    return text;
  };
}

/** Repeatable: "FILE" or "FILE ARGUMENTS". */
export function parseModule(text: string, all: readonly string[] = []): readonly string[] {
  if (/^( |$)/.test(text)) throw wrong('--module', '"FILE" or "FILE ARGUMENTS"', text);
  return [...all, text];
}

const DISK_WORDS = 'format=FORMAT, readonly, discard, controller=N, lun=N';

/**
 * Repeatable: "FILE" with ",format=FORMAT", ",readonly", ",discard", ",controller=N" and ",lun=N" behind it in any order. As for
 * QEMU, a comma in the file's name is written twice.
 */
export function parseDisk(text: string, all: readonly DiskFile[] = []): readonly DiskFile[] {
  const [file, ...words] = commaParts(text);
  if (file === '') throw wrong('--disk', 'FILE[,format=FORMAT][,readonly][,discard][,controller=N][,lun=N]', text);
  let disk: DiskFile = { file };
  for (const word of words) {
    const format = DISK_FORMATS.find((known) => word === `format=${known}`);
    const place = parsePlace(word);
    if (format !== undefined) disk = { ...disk, format };
    else if (place !== undefined) disk = { ...disk, ...place };
    else if (word === 'readonly' || word === 'ro' || word === 'readonly=on') disk = { ...disk, readOnly: true };
    else if (word === 'discard') disk = { ...disk, discard: true };
    else if (word.startsWith('format='))
      throw new ViridianError('invalid', `--disk ${text}: the format must be ${DISK_FORMATS.join(', ')}`);
    else throw strangeWord(`--disk ${text}`, word, DISK_WORDS);
  }
  return [...all, disk];
}

/** Repeatable: "FILE" with ",controller=N" and ",lun=N" behind it; without a file, an empty drive. */
export function parseDvd(text: string, all: readonly DvdDrive[] = []): readonly DvdDrive[] {
  const [file, ...words] = commaParts(text);
  let drive: DvdDrive = file === '' ? {} : { file };
  for (const word of words) {
    const place = parsePlace(word);
    if (place === undefined) throw strangeWord(`--dvd ${text}`, word, 'controller=N, lun=N');
    drive = { ...drive, ...place };
  }
  return [...all, drive];
}

function commaParts(text: string): readonly [string, ...string[]] {
  const [first = '', ...rest] = text
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));
  return [first, ...rest];
}

function parsePlace(word: string): WantedPlace | undefined {
  const [, name, number] = /^(controller|lun)=(\d{1,3})$/.exec(word) ?? [];
  return name === undefined ? undefined : { [name]: Number(number) };
}

function strangeWord(option: string, word: string, known: string): ViridianError {
  return new ViridianError('invalid', `${option}: '${word}' is none of ${known}; a comma in a name is written twice`);
}

/** The text that `parseDisk` reads, for a shell. */
export function diskText({ file, format, readOnly, discard, ...place }: DiskFile): string {
  const words = [format && `format=${format}`, readOnly && 'readonly', discard && 'discard', ...placeWords(place)];
  return quoted([file.replaceAll(',', ',,'), ...words.filter(Boolean)].join(','));
}

/** The text that `parseDvd` reads, for a shell. */
export function dvdText({ file = '', ...place }: DvdDrive): string {
  return quoted([file.replaceAll(',', ',,'), ...placeWords(place)].join(','));
}

function placeWords({ controller, lun }: WantedPlace): string[] {
  return [
    ...(controller === undefined ? [] : [`controller=${controller}`]),
    ...(lun === undefined ? [] : [`lun=${lun}`]),
  ];
}

function quoted(text: string): string {
  return /^[\w.,/=:@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const NIC = 'nat|private[,mac=ADDRESS][,vlan=N][,mtu=N][,name=NAME][,host=PORT[/udp]][,large][,capture=FILE]';
const NIC_WORDS = {
  mac: (mac: string) => ({ mac }),
  vlan: (vlan: string) => ({ vlan: Number(vlan) }),
  mtu: (mtu: string) => ({ mtu: Number(mtu) }),
  name: (name: string) => ({ name }),
  host: (text: string, { hostAccess = [] }: NicOptions) => {
    const [port, protocol] = text.split('/');
    return { hostAccess: [...hostAccess, { port: Number(port), protocol: protocol === 'udp' ? 'udp' : 'tcp' }] };
  },
  capture: (capture: string) => ({ capture }),
} as const satisfies Readonly<Record<string, (value: string, nic: NicOptions) => Partial<NicOptions>>>;

/** Repeatable: a network adapter, as `NIC` has it. */
export function parseNic(text: string, all: readonly NicOptions[] = []): readonly NicOptions[] {
  const [network = '', ...words] = text.split(',');
  if (network !== 'nat' && network !== 'private') throw wrong('--nic', NIC, text);
  let nic: NicOptions = { network };
  for (const word of words) {
    const [, key = '', value = ''] = /^([a-z]+)=(.+)$/.exec(word) ?? [];
    if (word === 'large') {
      nic = { ...nic, largeFrames: true };
      continue;
    }
    if (!Object.hasOwn(NIC_WORDS, key))
      throw new ViridianError(
        'invalid',
        `--nic ${text}: '${word}' is none of mac=, vlan=, mtu=, name=, host=, large, capture=`,
      );
    nic = { ...nic, ...NIC_WORDS[key as keyof typeof NIC_WORDS](value, nic) };
  }
  try {
    checkNic(nic);
  } catch (error) {
    throw new ViridianError('invalid', `--nic ${text}: ${(error as Error).message}`, { cause: error });
  }
  return [...all, nic];
}

/** Repeatable: `8080:80`, `127.0.0.1:8080:80`, `[::1]:8080:80`, each with `/udp` or `/tcp` behind it. */
export function parsePublish(text: string, all: readonly PortForward[] = []): readonly PortForward[] {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  const [hostPort = 0, guestPort = 0] = [match?.[3], match?.[4]].map(Number);
  const isPort = (port: number): boolean => port >= 1 && port <= 65535;
  if (!match || !isPort(hostPort) || !isPort(guestPort))
    throw wrong('--publish', '[ADDRESS:]HOSTPORT:GUESTPORT[/udp], as in 8080:80', text);
  const protocol = match[5] === 'udp' ? 'udp' : 'tcp';
  const hostAddress = match[1] ?? match[2];
  return [...all, { protocol, ...(hostAddress === undefined ? {} : { hostAddress }), hostPort, guestPort }];
}

function wrong(option: string, wanted: string, text: string): ViridianError {
  return new ViridianError('invalid', `${option} must be ${wanted}, not '${text}'`);
}
