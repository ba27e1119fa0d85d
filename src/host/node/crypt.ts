/** Passwords as /etc/shadow keeps them: SHA-512 crypt, `$6$` (Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512"). */
import { createHash, randomBytes } from 'node:crypto';

const LETTERS = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SALT_LENGTH = 16;
const ROUNDS = 5000;
const DIGEST = 64;

function sha512(parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** A digest repeated to as many bytes. */
function stretched(digest: Buffer, length: number): Buffer {
  return Buffer.alloc(length, digest);
}

/** @param salt Up to 16 letters of `./0-9A-Za-z`; random where not given. */
export function sha512Crypt(password: string, salt = randomSalt()): string {
  const key = Buffer.from(password);
  const salted = Buffer.from(salt);
  const b = sha512([key, salted, key]);
  const parts = [key, salted, stretched(b, key.length)];
  for (let n = key.length; n > 0; n >>>= 1) parts.push((n & 1) === 1 ? b : key);
  let digest = sha512(parts);
  const p = stretched(sha512(Array.from(key, () => key)), key.length);
  const s = stretched(sha512(Array.from({ length: 16 + digest[0]! }, () => salted)), salted.length);
  for (let round = 0; round < ROUNDS; round++) {
    const odd = (round & 1) === 1;
    const pieces = [odd ? p : digest];
    if (round % 3 !== 0) pieces.push(s);
    if (round % 7 !== 0) pieces.push(p);
    pieces.push(odd ? digest : p);
    digest = sha512(pieces);
  }
  return `$6$${salt}$${encode(digest)}`;
}

function randomSalt(): string {
  return Array.from(randomBytes(SALT_LENGTH), (byte) => LETTERS[byte & 63]).join('');
}

/** Three bytes are four letters; which three is the algorithm's own order. */
function encode(digest: Buffer): string {
  let text = '';
  const put = (value: number, count: number): void => {
    for (let i = 0; i < count; i++) text += LETTERS[(value >>> (6 * i)) & 63];
  };
  for (let i = 0, at = 0; i < 21; i++, at = (at + 22) % 63) {
    const bytes = [digest[at]!, digest[(at + 21) % 63]!, digest[(at + 42) % 63]!];
    put((bytes[0]! << 16) | (bytes[1]! << 8) | bytes[2]!, 4);
  }
  put(digest[DIGEST - 1]!, 2);
  return text;
}
