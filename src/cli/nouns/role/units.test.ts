import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findCommand, runCommand } from '../../../host/node/command.ts';
import { GUESTS_UNIT, guestsUnit, serviceUnit, UNIT } from './units.ts';

const command = [process.execPath, '--no-warnings', '/opt/a folder/100%/$hv.js'];
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
