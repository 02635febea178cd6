// PNG files that carry the settings that made them, as plots/files.py writes and `mezzotint info` reads them. Nothing is
// compressed: pictures are small.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const KEY = "mezzotint"; // of the text chunk
const MAX_STORED = 65535; // bytes of a stored block of deflate (RFC 1951, section 3.2.4)

/** The checksum of PNG's chunks (ISO 3309), bit by bit. */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

const bigEndian = (number) => [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];

function chunk(kind, bytes) {
  const body = [...kind].map((letter) => letter.charCodeAt(0)).concat(Array.from(bytes));
  return [...bigEndian(bytes.length), ...body, ...bigEndian(crc32(body))];
}

/** Bytes as a zlib stream of stored blocks (RFC 1950): a header, the blocks, Adler's checksum. */
function stored(bytes) {
  const stream = [0x78, 0x01];
  let a = 1, b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  for (let begin = 0; begin < bytes.length; begin += MAX_STORED) {
    const block = bytes.slice(begin, begin + MAX_STORED), size = block.length;
    const last = begin + MAX_STORED >= bytes.length ? 1 : 0;
    stream.push(last, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255);
    for (const byte of block) stream.push(byte);
  }
  return [...stream, ...bigEndian(((b << 16) | a) >>> 0)];
}

/** A PNG, a Uint8Array, of bytes (height, width, channels), grey or RGB, with text in its chunk tEXt. */
function png(pixels, [channels, height, width], text) {
  const rows = [];
  for (let row = 0; row < height; row++) {
    rows.push(0); // no filter
    for (const byte of pixels.subarray(row * width * channels, (row + 1) * width * channels)) rows.push(byte);
  }
  const ascii = text.replace(/[^\x00-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const letters = [...`${KEY}\0${ascii}`].map((letter) => letter.charCodeAt(0));
  const header = [...bigEndian(width), ...bigEndian(height), 8, channels === 1 ? 0 : 2, 0, 0, 0];
  const chunks = [chunk("IHDR", header), chunk("tEXt", letters), chunk("IDAT", stored(rows)), chunk("IEND", [])];
  return Uint8Array.from([...SIGNATURE, ...chunks.flat()]);
}

/** The settings that make a picture again, as JSON, in the words of `mezzotint sample`. */
function written(model, { seed, label, prompt, negative, settings }) {
  const asked = label === null ? null : label === model.classes.length ? model.none : model.classes[label];
  const origin = { model: model.name, step: model.step, weights: model.weights_kind };
  const words = model.length ? { prompt, negative } : {};
  const text = JSON.stringify({ ...settings, seed: "SEED", label: model.classes.length ? asked : null, n: 1, ...origin, ...words });
  return text.replace('"seed":"SEED"', `"seed":${seed}`); // all of its digits, which a number of JavaScript may not have
}
