/** Randomness for a run that is a function of its inputs. */

/** A sequence that depends on the seed and on the instruction count alone, so that restoring a state continues it. SplitMix64. */
export function seededRandom(seed: bigint, count: () => bigint): () => bigint {
  return () => {
    let z = BigInt.asUintN(64, seed + count() * 0x9e37_79b9_7f4a_7c15n);
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n);
  };
}
