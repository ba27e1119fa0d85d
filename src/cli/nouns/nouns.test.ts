import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { EDITIONS } from '../../contracts/api/resources.ts';
import { EXIT } from '../../contracts/exit-codes.ts';
import { type CommandResult, findCommand, runCommand } from '../../host/node/command.ts';
import { tree } from './checkpoint/tree.ts';
import { nameOf } from './command-row.ts';
import { EDITION_WORDS } from './host/commands.ts';
import { bytes, duration, table } from './output.ts';
import { expandCmdlet } from './register.ts';
import { COMMANDS, NOUNS } from './table.ts';
import { disk, forward, forwardText, hostPort, nic, oneOf, rate } from './values.ts';
import { candidates } from './watch/completion.ts';

const HV = fileURLToPath(new URL('../../../bin/hv', import.meta.url));

describe('the table of commands', () => {
  it('has every name once, and an action behind each', async () => {
    const names = COMMANDS.flatMap((row) => [
      nameOf(row),
      ...(row.aliases ?? []).map((verb) => nameOf({ ...row, verb })),
      ...(row.shortcut === undefined ? [] : [row.shortcut]),
    ]);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
    const cmdlets = COMMANDS.flatMap((row) => row.cmdlets ?? []);
    expect(cmdlets.filter((name, i) => cmdlets.indexOf(name) !== i)).toEqual([]);
    for (const row of COMMANDS) {
      expect(row.noun === undefined || row.noun in NOUNS).toBe(true);
      expect(typeof (await row.load())).toBe('function');
    }
  });

  it('knows the words of the contracts', () => {
    expect(EDITION_WORDS).toEqual(EDITIONS);
  });
});

describe('cmdlets', () => {
  it.each([
    ['Get-VM', 'vm ls'],
    ['Get-VM -Name web', 'vm ls web'],
    ['Start-VM -Name web', 'vm start web'],
    ['stop-vm web -TurnOff', 'vm stop web --turn-off'],
    ['Stop-VM web -Force', 'vm stop web --force'],
    ['Remove-VM web -Force', 'vm rm web --yes'],
    ['New-VM web -MemoryStartupBytes 1G -WhatIf', 'vm new web --memory 1G --what-if'],
    ['Checkpoint-VM web clean', 'checkpoint create web clean'],
    ['Restore-VMSnapshot web clean -Confirm:$false', 'checkpoint apply web clean --yes'],
    ['Get-VMHost', 'host show'],
    ['vm ls', 'vm ls'],
  ])('%s is hv %s', (typed, meant) => {
    expect(expandCmdlet(typed.split(' ')).join(' ')).toBe(meant);
  });
});

describe('values', () => {
  it('are read, or refused with what they could be', () => {
    expect(disk('/a.vhdx,slot=3,readonly,parent=/b.vhdx')).toEqual({
      file: '/a.vhdx',
      slot: 3,
      readOnly: true,
      allowParent: ['/b.vhdx'],
    });
    expect(() => disk('/a,frobnicate')).toThrow("'frobnicate' is none of slot=N");
    expect(nic('lan,mac=00-15-5D-00-00-01')).toEqual({ switch: 'lan', macAddress: '00:15:5d:00:00:01' });
    expect(nic('none')).toEqual({ switch: null });
    expect(nic('lan,vlan=7,address=10.0.0.5,spoofing')).toEqual({
      switch: 'lan',
      vlan: 7,
      address: '10.0.0.5',
      macSpoofing: true,
    });
    expect(['1G', '2.5M', '500k'].map(rate('--send-limit'))).toEqual([1e9, 2.5e6, 5e5]);
    expect(() => rate('--send-limit')('fast')).toThrow('bits per second');
    expect(forward('[::1]:5353:53/udp')).toEqual({
      protocol: 'udp',
      hostAddress: '::1',
      hostPort: 5353,
      guestPort: 53,
    });
    for (const text of ['8080:80', '[::1]:5353:53/udp', '0.0.0.0:1:2']) expect(forwardText(forward(text))).toBe(text);
    expect(hostPort('--allow-host')('53/udp')).toEqual({ protocol: 'udp', port: 53 });
    expect(oneOf('--x', ['StayOff'])('stayoff')).toBe('StayOff');
    expect(() => oneOf('--x', ['StayOff'])('on')).toThrow("--x must be StayOff, not 'on'");
  });
});

describe('what is shown', () => {
  it('fits the terminal, and has no control characters of a guest', () => {
    const columns = [
      { title: 'NAME', value: (row: string[]) => row[0]! },
      { title: 'N', value: (row: string[]) => row[1]!, right: true },
      { title: 'TEXT', value: (row: string[]) => row[2]! },
    ];
    const rows = [
      ['a', '1', 'red \x1b[31m'],
      ['long', '10', 'plain text'],
    ];
    expect(table(rows, columns)).toBe('NAME   N  TEXT\na      1  red ?[31m\nlong  10  plain text');
    expect(table(rows, columns, 14).split('\n')[2]).toBe('long  10  pla…');
  });

  it('says sizes and times as people do', () => {
    expect([0, 512, 1536, 3 * 2 ** 30].map(bytes)).toEqual(['0', '512 B', '1.5 KiB', '3 GiB']);
    expect([5, 65, 7500, 200_000].map(duration)).toEqual(['5 s', '1 min 05 s', '2 h 05 min', '2 days']);
  });

  it('draws checkpoints as a tree', () => {
    const make = (id: string, parent: string | null) => ({ id, parent }) as Parameters<typeof tree>[0][number];
    const leaves = tree([make('a', null), make('b', 'a'), make('c', 'b'), make('d', 'a')]);
    expect(leaves.map(({ checkpoint, depth }) => `${depth}${checkpoint.id}`)).toEqual(['0a', '1b', '2c', '1d']);
  });
});

describe('completion', () => {
  it.each<[string, string, string[]]>([
    ['', 'check', ['checkpoint']],
    ['vm', 'sta', ['start']],
    ['vm new', '--mem', ['--memory']],
    ['ls --state', 'Pau', ['Paused', 'PausedCritical', 'Pausing']],
    ['vm new web --engine', '', ['auto', 'interpreter', 'translator']],
    ['vm new web --disk', '', [':file']],
    ['host set --edition', '2008 R2 S', ['2008 R2 Standard']],
    ['kvp ls web', 'a', ['auto']],
    ['completion', 'f', ['fish']],
    ['frobnicate', '', []],
  ])('hv %s %s', async (before, begun, found) => {
    expect(await candidates(before === '' ? [] : before.split(' '), begun)).toEqual(found);
  });

  const bash = findCommand('bash');
  it.skipIf(bash === undefined)(`in bash${bash ? '' : ': skipped, bash not found'}`, async () => {
    // As bash calls it when the tab key is pressed.
    const script = `PATH=${dirname(HV)}:$PATH; source <(hv completion bash); complete -p hv
      for words in 'hv check' 'hv vm sta' 'hv vm new --mem'; do
        COMP_WORDS=($words); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _hv; echo "\${COMPREPLY[@]}"
      done
      hv() { printf '%s\\n' 'my vm' "\${@: -1}"; }
      COMP_WORDS=(hv start 'my\\ v'); COMP_CWORD=2; _hv; echo "\${COMPREPLY[@]}"`;
    expect(await runCommand(bash!, ['--norc', '-c', script])).toEqual({
      code: 0,
      stdout: 'complete -F _hv hv\ncheckpoint\nstart\n--memory\nmy\\ vm my\\ v\n',
      stderr: '',
    });
  });
});

describe('hv', () => {
  const home = mkdtempSync(join(tmpdir(), 'vir-'));
  const env = { ...process.env, VIRIDIAN_HOME: home };
  const hv = (...args: string[]): Promise<CommandResult> => {
    const settings = Object.entries({ VIRIDIAN_HOME: env.VIRIDIAN_HOME }).map(([name, value]) => `${name}=${value}`);
    return runCommand('/usr/bin/env', [...settings, HV, ...args]);
  };
  afterAll(async () => {
    await hv('service', 'stop');
    rmSync(home, { recursive: true, force: true });
  });

  it('starts the service when there is none, and tells people and programs', async () => {
    expect(await hv('service', 'status')).toMatchObject({ code: EXIT.failure, stdout: '' });
    expect(await hv('ls')).toMatchObject({
      code: EXIT.ok,
      stdout: '',
      stderr: "no virtual machines; make one with 'hv vm new', or look at 'hv vm new --help'\n",
    });
    expect((await hv('service', 'status')).stdout).toMatch(/^running, process \d+, version /);

    writeFileSync(join(home, 'kernel'), 'not really');
    writeFileSync(
      join(home, 'web.yaml'),
      'name: web\nmemory: 256M\nboot:\n  kernel: kernel\n  append: quiet\ntags: [a, b]\n',
    );
    expect((await hv('vm', 'new', '-f', join(home, 'web.yaml'), '--what-if')).stderr).toMatch(/^what if: make web: /);
    expect(await hv('vm', 'new', '-f', join(home, 'web.yaml'), '--processors', '2', '-q')).toMatchObject({
      stdout: 'web\n',
    });
    const shown = JSON.parse((await hv('vm', 'show', 'web', '--json')).stdout) as { configuration: object };
    expect(shown.configuration).toMatchObject({
      memory: 2 ** 28,
      processors: 2,
      tags: ['a', 'b'],
      boot: { kernel: join(home, 'kernel'), append: 'quiet' },
    });
    expect((await hv('ls', '-o', 'yaml')).stdout).toContain('name: web\n');
    expect((await hv('ls')).stdout).toMatch(/^NAME {2}STATE.*\nweb {3}Off/);
    expect((await hv('Get-VM', '-o', 'name')).stdout).toBe('web\n');
    expect(JSON.parse((await hv('ls', '--json', '-q')).stdout)).toEqual(['web']);
    // What shows nothing says what it has done, where programs do not look.
    expect(await hv('vm', 'set', 'web', '--notes', 'x')).toMatchObject({
      stdout: '',
      stderr: 'hv: done: set {"notes":"x"} of web\n',
    });
    expect(await hv('nic', 'add', 'web')).toMatchObject({
      stdout: '',
      stderr: 'hv: done: add a network adapter to web\n',
    });
    expect((await hv('token', '--help')).stdout).not.toContain('triple fault');
    expect((await hv('complete', '--', 'start', 'w')).stdout).toBe('web\n');
    expect((await hv('events', '--json', '--last', '10')).stdout).toContain('"kind":"vm.created"');
  });

  it.each<[string, number, string]>([
    ['vm show nobody', EXIT.notFound, "hv: there is no virtual machine 'nobody'"],
    ['ls web nobody', EXIT.notFound, "hv: there is no virtual machine 'nobody'"],
    ['vm rm nobody', EXIT.notFound, "hv: there is no virtual machine 'nobody'"],
    ['checkpoint apply web never', EXIT.notFound, "hv: web has no checkpoint 'never'"],
    ['events --vm nobody', EXIT.notFound, "hv: there is no virtual machine 'nobody'"],
    ['ls --state running', EXIT.ok, 'none of the virtual machines is like that'],
    ['resume web', EXIT.usage, "hv: unknown command 'resume': it is 'hv vm resume'"],
    ['stop web --turn-off', EXIT.wrongState, 'hv: cannot turn off web: it is Off, and that needs it to run'],
    ['vm pause web', EXIT.wrongState, 'hv: cannot pause web: it is Off, and that needs Running'],
    ['vm new web', EXIT.wrongState, "hv: there is a virtual machine 'web' already: give another name"],
    ['vm new', EXIT.usage, "hv: it needs a name: 'hv vm new NAME', or 'name:' in the file"],
    ['vm set web', EXIT.usage, "hv: nothing to set: see 'hv vm set --help'"],
    [
      'vm rm web',
      EXIT.usage,
      'hv: Remove web, with checkpoints and saved states? Nobody is here to answer: give --yes',
    ],
    ['vm fly', EXIT.usage, "hv: unknown command 'fly': 'hv vm --help' shows all"],
    ['vm strat web', EXIT.usage, "hv: unknown command 'strat': did you mean start?"],
    ['strat web', EXIT.usage, "hv: unknown command 'strat': did you mean start?"],
    ['frobnicate', EXIT.usage, "hv: unknown command 'frobnicate': 'hv --help' shows all"],
    [
      'nic add web --mac zz',
      EXIT.usage,
      "hv: a MAC address is six pairs of hexadecimal digits, as 00:15:5d:00:00:01, not 'zz'",
    ],
    ['ls -o xml', EXIT.usage, "hv: --output must be table, json, yaml, name, not 'xml'"],
    ['console web', EXIT.wrongState, 'hv: web is Off, and that needs it to run: start it first'],
    ['cp /etc/hostname web', EXIT.usage, 'hv: one side is a guest (VM:/PATH), the other is this host'],
    [
      'host set --edition Home',
      EXIT.usage,
      "hv: --edition must be Unlimited, 2008 Standard, 2008 R2 Standard, 2008 R2 Enterprise, 2008 R2 Datacenter, not 'Home'",
    ],
  ])('%s: exits with %i', async (args, code, line) => {
    expect(await hv(...args.split(' '))).toEqual({ code, stdout: '', stderr: `${line}\n` });
  });

  it('says of a file with settings what is wrong with it', async () => {
    const file = join(home, 'odd.yaml');
    writeFileSync(file, 'name: odd\ndisks: 3\n');
    const stderr = `hv: ${file}: disks: must be a list, each with what is its own\n`;
    expect(await hv('vm', 'new', '-f', file)).toEqual({ code: EXIT.badFile, stdout: '', stderr });
  });

  it('starts one service for several questions at once', async () => {
    await hv('service', 'stop');
    expect(await hv('ls', 'web', 'web', '-q')).toEqual({ code: EXIT.ok, stdout: 'web\nweb\n', stderr: '' });
  });

  it('follows events from one service to the next, and misses none', async () => {
    const follower = spawn('/usr/bin/env', [`VIRIDIAN_HOME=${home}`, HV, 'events', '-f', '--last', '1']);
    try {
      let shown = '';
      follower.stdout.on('data', (bytes: Buffer) => (shown += bytes.toString()));
      await vi.waitFor(() => expect(shown).not.toBe(''), { timeout: 20_000 });
      const { pid } = JSON.parse((await hv('service', 'status', '--json')).stdout) as { pid: number };
      process.kill(pid, 'SIGKILL');
      await vi.waitFor(async () => expect((await hv('service', 'status')).code).toBe(EXIT.failure), 20_000);
      await hv('vm', 'set', 'web', '--notes', 'y');
      await vi.waitFor(() => expect(shown).toMatch(/was started\n.*web was changed: notes\n/), { timeout: 20_000 });
    } finally {
      follower.kill();
    }
  });
});
