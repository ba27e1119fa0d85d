/** The bridge to V8, assembled: bridge.asm is its source, machine-code.test.ts assembles it again. For x86-64 Linux. */
import { Buffer } from 'node:buffer';

export const BRIDGE: Buffer<ArrayBuffer> = Buffer.from(
  [
    'e914000000e95e000000e9e1000000e9ea000000e90a010000534889fbe8a2000000488bbba0000000488bb3980000008b53',
    '60ff5318488dbba80000004889c6ff5328488dbb80000000488db3a8000000ff5330488b83b00000004885c07404f0ff4808',
    '31c05bc3534889fbe853000000488dbb28010000ff5338488dbb28010000ff5340488dbb28010000488b7370488b5378ff53',
    '48488dbb28010000488bb390000000488d9368010000488d8b88010000ff5350488dbb28010000ff535831c05bc34883ec08',
    'ff13488983900000004889c7ff5308488983980000004889c7ff5310488983a00000004883c408c383fa0275060f10060f11',
    '0731c0c353488b1f834b68014889f7488b07488bb380000000488b9388000000ff5008836368fe5bc353488b1ff743680100',
    '00007421807e0800751b834b6802488b0e488bbba0000000488bb3980000008b5360ff53205bc3',
  ].join(''),
  'hex',
);
/** Where its functions are in it. */
export const Entry = { SERIALIZE: 0, DESERIALIZE: 5, MANAGE: 10, GIVE_CODE: 15, TAKE_MODULE: 20 } as const;
/** V8's functions, in the order of the table's words: of the classes in v8.h and v8-wasm.h, as compilers name them. */
export const FUNCTIONS = [
  '_ZN2v87Isolate10GetCurrentEv',
  '_ZN2v87Isolate17GetCurrentContextEv',
  '_ZN2v87Context6GlobalEv',
  '_ZN2v86Object3GetENS_5LocalINS_7ContextEEEj',
  '_ZN2v86Object3SetENS_5LocalINS_7ContextEEEjNS1_INS_5ValueEEE',
  '_ZN2v816WasmModuleObject17GetCompiledModuleEv',
  '_ZN2v818CompiledWasmModule9SerializeEv',
  '_ZN2v821WasmModuleCompilationC1Ev',
  '_ZN2v821WasmModuleCompilation25SetHasCompiledModuleBytesEv',
  '_ZN2v821WasmModuleCompilation15OnBytesReceivedEPKhm',
  '_ZN2v821WasmModuleCompilation6FinishEPNS_7IsolateERKSt8functionIFvRNS_13WasmStreaming22ModuleCachingInterfaceEEERKS3_IFvSt7variantIJNS_5LocalINS_16WasmModuleObjectEEENSC_INS_5ValueEEEEEEE',
  '_ZN2v821WasmModuleCompilationD1Ev',
] as const;
/** Words of the table behind the functions. */
export const Word = { PROPERTY: 12, STATUS: 13, MODULE: 14, CODE: 16, ON_CODE: 45, ON_DONE: 49, COUNT: 56 } as const;
