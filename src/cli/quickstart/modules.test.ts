import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectModules, dependenciesOf, MODULE_ORDER } from './modules.ts';

/** A module as far as it matters: its .modinfo strings. */
function module(depends: string): Buffer {
  return Buffer.from(`\x7fELF\0license=GPL\0depends=${depends}\0name=x\0`, 'latin1');
}

describe('kernel modules', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'viridian-test-'));
    mkdirSync(join(root, 'lib/modules/6.1/kernel'), { recursive: true });
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });
  const put = (file: string, depends: string): void =>
    writeFileSync(join(root, 'lib/modules/6.1/kernel', file), module(depends));

  it('say what they depend on', () => {
    expect(dependenciesOf(module('hv_vmbus,scsi-mod'))).toEqual(['hv_vmbus', 'scsi_mod']);
    expect(dependenciesOf(module(''))).toEqual([]);
    expect(dependenciesOf(Buffer.from('nothing'))).toEqual([]);
  });

  it('are listed behind what they depend on, each once; missing ones and circles do no harm', () => {
    put('hyperv-keyboard.ko', 'hv_vmbus,serio');
    put('hv_vmbus.ko', '');
    put('hv_utils.ko', 'hv_vmbus');
    put('a.ko', 'b');
    put('b.ko', 'a');
    const archive = Buffer.from(collectModules(root, ['hyperv_keyboard', 'hv_utils', 'a', 'none'])).toString('latin1');
    const order = archive.slice(archive.indexOf(`${MODULE_ORDER}\0`));
    const names = [...order.matchAll(/lib\/modules\/(\w+)\.ko\n/g)].map((match) => match[1]);
    expect(names).toEqual(['hv_vmbus', 'hyperv_keyboard', 'hv_utils', 'b', 'a']);
  });
});
