import { describe, expect, it } from 'vitest';
import { checkHost, TOOL_NAMES } from './checks.ts';
import { doctorText, isAble } from './doctor.ts';
import { gatherHostFacts, type HostFacts, parseCpuInfo } from './host-facts.ts';
import { hasWasmFeature, WASM_FEATURES } from './wasm-features.ts';

const good: HostFacts = {
  platform: 'linux',
  arch: 'x64',
  cpu: { vendor: 'AuthenticAMD', model: 'EPYC', flags: new Set(['nx', 'svm', 'npt']) },
  processors: 8,
  kvm: { state: 'usable', modules: ['kvm_amd'] },
  memoryBytes: 16 * 2 ** 30,
  availableBytes: 8 * 2 ** 30,
  nodeVersion: '26.10.0',
  keepsMachineCode: true,
  tools: Object.fromEntries(TOOL_NAMES.map((name) => [name, `/usr/bin/${name}`])),
};

function check(name: string, facts: Partial<HostFacts>) {
  const result = checkHost({ ...good, ...facts }).find((candidate) => candidate.name === name);
  if (result === undefined) throw new Error(`no check ${name}`);
  return result;
}

describe('hv doctor', () => {
  it('finds nothing wrong with a good host', () => {
    const results = checkHost(good);
    expect(results.filter((result) => result.level !== 'ok')).toEqual([]);
    expect(doctorText(results)).toContain('This host can run partitions.');
  });

  it('says what is missing', () => {
    expect(check('NX', { cpu: { ...good.cpu, flags: new Set() } }).level).toBe('warning');
    expect(check('SLAT', { cpu: { ...good.cpu, flags: new Set(['ept']) } }).found).toBe('EPT');
    expect(check('VT-x / AMD-V', { cpu: { ...good.cpu, flags: new Set(['vmx']) } }).found).toBe('VT-x');
    expect(check('memory', { memoryBytes: 2 ** 30 }).level).toBe('warning');
    expect(check('/dev/kvm', { kvm: { state: 'denied', modules: [] } }).meaning).toContain("group 'kvm'");
    expect(check('/dev/kvm', { kvm: { state: 'usable', modules: ['kvm_pvm'] } }).meaning).toContain('nested');
    expect(check('tool: nasm', { tools: {} })).toMatchObject({ level: 'warning', found: 'not found' });
    expect(check('machine code', { keepsMachineCode: false })).toMatchObject({ level: 'warning', found: 'not kept' });
    expect(check('system', { platform: 'darwin', arch: 'arm64' }).level).toBe('warning');
  });

  it('fails only when something required is missing', () => {
    const nothing: Partial<HostFacts> = { tools: {}, kvm: { state: 'absent', modules: [] }, memoryBytes: 1 };
    expect(isAble(checkHost({ ...good, ...nothing }))).toBe(true);
    const results = checkHost({ ...good, nodeVersion: '20.20.2' });
    expect(isAble(results)).toBe(false);
    expect(doctorText(results)).toContain('cannot run partitions');
  });

  it('reads /proc/cpuinfo', () => {
    const text = [
      'processor\t: 0',
      'vendor_id\t: GenuineIntel',
      'model name\t: Xeon',
      'flags\t\t: fpu nx vmx',
      'vmx flags\t: vnmi ept',
      '',
      'processor\t: 1',
      'flags\t\t: fpu svm',
    ].join('\n');
    expect(parseCpuInfo(text)).toEqual({
      vendor: 'GenuineIntel',
      model: 'Xeon',
      flags: new Set(['fpu', 'nx', 'vmx', 'vnmi', 'ept']),
    });
    expect(parseCpuInfo('')).toEqual({ vendor: '', model: '', flags: new Set() });
  });

  it('gathers facts from this host', () => {
    const facts = gatherHostFacts(['sh', 'no-such-tool']);
    expect(facts.tools.sh).toMatch(/\/sh$/);
    expect(facts.tools['no-such-tool']).toBeUndefined();
    expect(facts.memoryBytes).toBeGreaterThan(0);
    expect(facts.availableBytes).toBeGreaterThan(0);
  });

  it.each(WASM_FEATURES.map((feature) => [feature.name, feature] as const))('%s: a valid module', (_, feature) => {
    expect(hasWasmFeature(feature)).toBe(true);
    // The module is what is tested, not merely its header: cut short it is refused.
    expect(WebAssembly.validate(feature.bytes.slice(0, -1))).toBe(false);
  });
});
