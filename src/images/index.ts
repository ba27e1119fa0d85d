/** What others use of this room. */
export { formatOfName } from '../storage/index.ts';
export { checkWord, type ImageUser, publicKeys } from './debian.ts';
export { createDebianImage, type DebianImage, type DebianImageOptions, type ImageProgress } from './node/debian.ts';
export { noCloudSeed, type Seed } from './seed.ts';
