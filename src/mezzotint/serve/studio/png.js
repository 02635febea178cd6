// What a PNG of Mezzotint says of itself.

import { parse } from "./json.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const KEY = "mezzotint"; // of the text chunk with the settings
const MAX_SETTINGS = 2 ** 20; // characters

/** The settings inside a PNG (bytes), as an object; null where there are none. Throws an Error where they are damaged. */
export function settingsOf(bytes) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (begin, size) => String.fromCharCode(...bytes.subarray(begin, begin + size));
  for (let at = 8; at + 12 <= bytes.length; at += view.getUint32(at) + 12) {
    const size = view.getUint32(at);
    if (text(at + 4, 4) !== "tEXt" || text(at + 8, KEY.length + 1) !== `${KEY}\0` || size > MAX_SETTINGS) continue;
    try {
      return { ...parse(new TextDecoder("latin1").decode(bytes.subarray(at + 9 + KEY.length, at + 8 + size))) };
    } catch {
      throw new Error("The settings inside this picture are damaged.");
    }
  }
  return null;
}
