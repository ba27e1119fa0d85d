/** Node's cryptography, loaded when it is first used: loading it takes longer than making a machine. */
export function nodeCrypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto');
}
