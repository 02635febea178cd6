// What a PNG of Mezzotint says of itself, and the digest by which edits know their pictures.

import { parse } from "./json.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const KEY = "mezzotint"; // of the text chunk with the settings
const MAX_SETTINGS = 2 ** 20; // characters

export const isPng = (bytes) => SIGNATURE.every((byte, i) => bytes[i] === byte);

/** The settings inside a PNG (bytes), as an object; null where it has none. Throws an Error where they are damaged. */
export function settingsOf(bytes) {
  if (!isPng(bytes)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const size = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + size);
    if (kind === "tEXt" && size <= MAX_SETTINGS) {
      const text = new TextDecoder("latin1").decode(content);
      if (text.startsWith(`${KEY}\0`)) {
        try {
          return { ...parse(text.slice(KEY.length + 1)) };
        } catch {
          throw new Error("the settings inside this picture are damaged");
        }
      }
    }
    at += size + 12;
  }
  return null;
}

/** SHA-256 (FIPS 180-4) in hexadecimal; by hand, since pages of plain HTTP from other machines have no crypto.subtle. */
export function sha256(bytes) {
  const padded = new Uint8Array(((bytes.length + 72) >> 6) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, bytes.length << 3);
  const state = Int32Array.from(ROOTS.map(([square]) => square).slice(0, 8));
  const w = new Int32Array(64), turn = (x, by) => (x >>> by) | (x << (32 - by));
  for (let block = 0; block < padded.length; block += 64) {
    for (let t = 0; t < 64; t++) {
      if (t < 16) {
        w[t] = view.getInt32(block + 4 * t);
        continue;
      }
      const a = w[t - 15], b = w[t - 2];
      w[t] = w[t - 16] + w[t - 7] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, k] = state;
    for (let t = 0; t < 64; t++) {
      const one = (k + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROOTS[t][1] + w[t]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [k, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, k].forEach((value, i) => (state[i] += value));
  }
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

/** Of the first 64 primes: 32 bits of the fractions of square and cube roots. */
const ROOTS = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  return primes.map((p) => [fraction(Math.sqrt(p)), fraction(Math.cbrt(p))]);
})();
