// Random numbers as a pure function of (seed, step, draw, element), as in randomness.py: the same seed is the same
// picture, there and here. 64-bit arithmetic is that of BigInt, kept to 64 bits by a mask.

const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n; // 2^64 / golden ratio, splitmix64's increment (Steele et al. 2014)
const CLASS_DRAW = -1n; // which draw of a seed its class is; solvers draw 0, 1, ...

/** splitmix64's finalizer: every bit of z changes every bit of the result with probability one half. */
function mixBits(z) {
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/** 64 random bits an element: a BigUint64Array of `count`. seed: BigInt; step, draw: numbers or BigInts. */
function randomBits(seed, step, draw, count) {
  let key = mixBits((seed + GOLDEN) & MASK);
  for (const part of [step, draw]) key = mixBits((key + BigInt(part) + GOLDEN) & MASK);
  const bits = new BigUint64Array(count);
  for (let i = 0; i < count; i++) bits[i] = mixBits((key + BigInt(i + 1) * GOLDEN) & MASK);
  return bits;
}

/** Uniform numbers in the open interval (0, 1), a Float64Array: 52 bits, and half of one more. */
function uniform(seed, step, draw, count) {
  return Float64Array.from(randomBits(seed, step, draw, count), (bits) => (Number(bits >> 12n) + 0.5) * 2 ** -52);
}

/** Standard normal noise (Box & Muller 1958), a Float32Array of `size`: sqrt(-2 log u) cos(2 pi a), then all the sines. */
function gaussian(seed, step, draw, size) {
  const half = (size + 1) >> 1;
  const random = uniform(seed, step, draw, 2 * half);
  const noise = new Float32Array(2 * half);
  for (let i = 0; i < half; i++) {
    const radius = Math.sqrt(-2 * Math.log(random[i]));
    const angle = 2 * Math.PI * random[half + i];
    noise[i] = radius * Math.cos(angle);
    noise[half + i] = radius * Math.sin(angle);
  }
  return noise.subarray(0, size);
}
