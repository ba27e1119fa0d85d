import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../../contracts/exit-codes.ts';
import { findCommand, runCommand } from '../../../host/node/command.ts';
import { GUESTS_UNIT, guestsUnit, serviceUnit, UNIT } from './units.ts';

const command = [process.execPath, '--no-warnings', '/opt/a folder/100%/$hv.js'];
const HV = fileURLToPath(new URL('../../../../bin/hv', import.meta.url));
const analyze = findCommand('systemd-analyze');

describe('units', () => {
  it('leave workers alone when the service ends, and VMs their compiler', () => {
    for (const system of [true, false]) {
      const unit = serviceUnit({ command, system, listen: '127.0.0.1:8006' });
      expect(unit).toContain('\nKillMode=process\n');
      expect(unit).toContain('\nNoNewPrivileges=yes\n');
      expect(unit).not.toContain('MemoryDenyWriteExecute');
      expect(unit).toContain(' "/opt/a folder/100%%/$$hv.js" service run --listen 127.0.0.1:8006\n');
    }
    expect(guestsUnit({ command, system: true })).toContain('service stop --vms\n');
  });

  it.skipIf(analyze === undefined)(
    `are what systemd takes${analyze ? '' : ': skipped, systemd-analyze not found'}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'vir-'));
      try {
        const options = { command: [process.execPath, '--version'], system: true };
        writeFileSync(join(folder, UNIT), serviceUnit(options));
        writeFileSync(join(folder, GUESTS_UNIT), guestsUnit(options));
        const result = await runCommand(analyze!, [
          'verify',
          '--man=no',
          join(folder, UNIT),
          join(folder, GUESTS_UNIT),
        ]);
        expect(result).toMatchObject({ code: 0, stderr: '' });
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );
});

describe('hv role', () => {
  it('writes the units, has systemd take them, and takes them away again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vir-'));
    try {
      // Stands for systemd's own: says what it was asked.
      const log = join(folder, 'asked');
      const systemctl = join(folder, 'bin/systemctl');
      mkdirSync(join(folder, 'bin'));
      writeFileSync(systemctl, `#!/bin/sh\necho "$*" >> ${log}\ncase "$*" in *is-active*) echo active;; esac\n`, {
        mode: 0o755,
      });
      const path = `PATH=${join(folder, 'bin')}:${process.env.PATH}`;
      const hv = (...args: string[]) =>
        runCommand('/usr/bin/env', [path, `XDG_CONFIG_HOME=${folder}`, HV, 'role', ...args]);
      const units = join(folder, 'systemd/user');
      expect(await hv('status')).toMatchObject({ code: EXIT.failure, stdout: '' });
      const dry = await hv('install', '--dry-run');
      expect(dry).toMatchObject({ code: 0, stderr: '' });
      expect(existsSync(units)).toBe(false);
      expect(await hv('install')).toMatchObject({ code: 0, stdout: '' });
      expect(dry.stdout).toContain(readFileSync(join(units, UNIT), 'utf8'));
      expect(dry.stdout).toContain(readFileSync(join(units, GUESTS_UNIT), 'utf8'));
      expect(await hv('status')).toMatchObject({ code: 0, stdout: 'installed, active\n' });
      expect(await hv('remove')).toMatchObject({ code: 0 });
      expect(readdirSync(units)).toEqual([]);
      expect(await hv('remove')).toMatchObject({ code: EXIT.notFound, stderr: 'hv: the role is not installed\n' });
      expect(readFileSync(log, 'utf8').trim().split('\n')).toEqual([
        '--user daemon-reload',
        `--user enable --now ${UNIT} ${GUESTS_UNIT}`,
        `--user is-active ${UNIT}`,
        `--user disable ${UNIT} ${GUESTS_UNIT}`,
        `--user stop ${UNIT}`,
        '--user daemon-reload',
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
