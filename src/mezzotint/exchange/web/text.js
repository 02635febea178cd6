// Words for a network: a text's words to numbers, and these to vectors that know their places and each other, as in
// conditions/text.py and nets/text.py.

const PADDING = 0, START = 1, FIRST = 2; // numbers of no word, of the beginning of every text, of the first word
const TEXT_WIDTH = 96, TEXT_HEADS = 4; // of a word's vector

/** The numbers of a text: START, then those of its words or of its bytes. Throws an Error that names a word which no caption
 * had, or says that the text is too long. */
function numbersOf(text, { reading, words, length }) {
  const found = reading === "bytes" ? bytesOf(text) : wordsOf(text, words);
  if (found.length >= length) throw new Error(`the text is too long: ${found.length} ${reading}, at most ${length - 1}`);
  return [START, ...found.map((number) => number + FIRST)];
}

/** By words, in lower case; full stops and commas say nothing. */
function wordsOf(text, words) {
  const found = text.toLowerCase().match(/[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]/gu) ?? [];
  return found.filter((word) => word !== "." && word !== ",").map((word) => {
    const place = words.indexOf(word);
    if (place < 0) throw new Error(`"${word}" is not in the vocabulary of this model: ${words.slice(0, 12).join(", ")} ...`);
    return place;
  });
}

/** Letter by letter, by the bytes of UTF-8, in lower case, spaces run together. */
function bytesOf(text) {
  return Array.from(new TextEncoder().encode(text.toLowerCase().split(/\s+/).filter(Boolean).join(" ")));
}

/** Layer normalisation of every row (Ba et al. 2016). */
function layerNorm(x, { weight, bias }) {
  const width = weight.length;
  const result = new Float32Array(x.length);
  for (let begin = 0; begin < x.length; begin += width) {
    let mean = 0, variance = 0;
    for (let i = 0; i < width; i++) mean += x[begin + i] / width;
    for (let i = 0; i < width; i++) variance += (x[begin + i] - mean) ** 2 / width;
    for (let i = 0; i < width; i++) {
      result[begin + i] = ((x[begin + i] - mean) / Math.sqrt(variance + 1e-5)) * weight[i] + bias[i];
    }
  }
  return result;
}

/** The error function by its series 2 / sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, whose terms all have one sign. */
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x, total = 0;
  for (let n = 0; Math.abs(term) > 1e-17; n++) {
    total += term;
    term *= (2 * x * x) / (2 * n + 3);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

/** x Phi(x) (Hendrycks & Gimpel 2016). */
const gelu = (x) => x.map((value) => (value / 2) * (1 + erf(value / Math.SQRT2)));

/** A text's vectors (length, 96), and which places have words. Causal self-attention and an MLP, each behind a layer norm and
 * beside a skip; in START's place is then the vector of the last word, which has seen all. */
function encodedText(model, weights, numbers) {
  const places = weights.numbers("encoder.places");
  const length = places.length / TEXT_WIDTH;
  const text = Array.from({ length }, (_, i) => numbers[i] ?? PADDING);
  const there = text.map((number) => number !== PADDING);
  const seen = (i, j) => j <= i && there[j];
  const table = weights.numbers("encoder.table");
  let x = places.map((place, i) => place + table[text[Math.floor(i / TEXT_WIDTH)] * TEXT_WIDTH + (i % TEXT_WIDTH)]);
  const width = TEXT_WIDTH / TEXT_HEADS;
  for (let i = 0; weights.has(`encoder.blocks.${i}.qkv`); i++) {
    const layer = (name) => weights.layer(`encoder.blocks.${i}.${name}`);
    const qkv = linear(layerNorm(x, layer("norm1")), layer("qkv"));
    const heads = new Float32Array(x.length);
    for (let first = 0; first < TEXT_WIDTH; first += width) {
      const [q, k, v] = [0, 1, 2].map((part) => slice(qkv, 3 * TEXT_WIDTH, part * TEXT_WIDTH + first, width));
      attend(q, k, v, width, seen).forEach((value, at) => {
        heads[Math.floor(at / width) * TEXT_WIDTH + first + (at % width)] = value;
      });
    }
    x = sum([x, linear(heads, layer("out"))]);
    x = sum([x, linear(gelu(linear(layerNorm(x, layer("norm2")), layer("mlp.0"))), layer("mlp.2"))]);
  }
  x = layerNorm(x, weights.layer("encoder.norm"));
  const last = there.filter(Boolean).length - 1;
  x.copyWithin(0, last * TEXT_WIDTH, (last + 1) * TEXT_WIDTH);
  return { vectors: x, there };
}
