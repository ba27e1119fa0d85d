/**
 * Errors that are meant for the user: each message is one line that says what is wrong and, where there is something to
 * do, what to do. Everything else that is thrown is a defect of ours.
 */
import { EXIT, type ExitCode } from './exit-codes.ts';

export const ERROR_EXIT_CODES = {
  /** An option is malformed, or asks for what is not possible. */
  invalid: EXIT.usage,
  notFound: EXIT.notFound,
  wrongState: EXIT.wrongState,
  denied: EXIT.denied,
  timeout: EXIT.timeout,
  /** The bytes of a file (kernel, initrd, saved state) are not what they should be. */
  badFile: EXIT.badFile,
  failure: EXIT.failure,
} as const satisfies Record<string, ExitCode>;

export type ErrorCode = keyof typeof ERROR_EXIT_CODES;

export class ViridianError extends Error {
  override readonly name = 'ViridianError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Not `instanceof`: the error may come from another copy of this module (each thread's bundle has one). */
export function isViridianError(error: unknown): error is ViridianError {
  return error instanceof Error && error.name === 'ViridianError' && 'code' in error;
}
